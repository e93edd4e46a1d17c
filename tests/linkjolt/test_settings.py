"""Settings are read by precedence, bad ones are named, and secrets are masked."""

from pathlib import Path

import pytest

from linkjolt.settings import (
    KINDS,
    OTHER_VARIABLES,
    AggregatorSettings,
    BadSetting,
    EdgeSettings,
    edits,
    load,
    mask,
    shown,
    unknown_variables,
)


def test_overrides_beat_variables_and_variables_beat_the_file(tmp_path: Path) -> None:
    file = tmp_path / "linkjolt.toml"
    file.write_text("edge_port = 1\nreports_port = 2\nhost = 'h'\n")
    environ = {"LINKJOLT_CONFIG": str(file), "LINKJOLT_EDGE_PORT": "3", "LINKJOLT_HOST": "i"}
    settings = load(EdgeSettings, environ, {"host": "j", "data": None})
    assert (settings.edge_port, settings.reports_port, settings.host) == (3, 2, "j")
    assert settings.data == "data"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LINKJOLT_EDGE_PORT", "http"),
        ("LINKJOLT_EDGE_PORT", "70000"),
        ("LINKJOLT_SHARDS", "0"),
        ("LINKJOLT_LOG_LEVEL", "loud"),
        ("LINKJOLT_SPOOL_MAX_BYTES", "0"),
    ],
)
def test_a_bad_value_stops_the_start_naming_the_variable(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=name):
        load(EdgeSettings, {name: value})


def test_an_unknown_name_in_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "linkjolt.toml"
    file.write_text("slice = 3\n")
    with pytest.raises(BadSetting, match="slice"):
        load(AggregatorSettings, {"LINKJOLT_CONFIG": str(file)})


def test_every_setting_is_shown_with_a_sentence() -> None:
    rows = shown({})
    fields = {field for kind in KINDS for field in kind.__struct_fields__}
    assert {row.variable for row in rows} == {f"LINKJOLT_{field.upper()}" for field in fields}
    assert all(row.description.endswith(".") for row in rows)


def test_passwords_in_urls_are_masked() -> None:
    rows = shown({"LINKJOLT_REDIS_URL": "redis://:hunter2@h:1/0"})
    assert not any("hunter2" in row.value for row in rows)
    assert mask("redis://h:1/0") == "redis://h:1/0"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LINKJOLT_EDGE_PROT", "LINKJOLT_EDGE_PORT"),
        ("LINKJOLT_SHARD", "LINKJOLT_SHARDS"),
        ("LINKJOLT_REDISURL", "LINKJOLT_REDIS_URL"),
        ("LINKJOLT_KEYS", "LINKJOLT_KEY"),
    ],
)
def test_a_variable_within_two_edits_of_a_known_one_stops_the_start(name: str, meant: str) -> None:
    with pytest.raises(BadSetting, match=f"^{name} is not a setting: did you mean {meant}\\?$"):
        load(EdgeSettings, {name: "8000"})


def test_a_variable_of_another_release_is_named_and_stops_nothing() -> None:
    environ = {"LINKJOLT_TLS_CERTIFICATE": "x", "LINKJOLT_DATA": "d", "HOME": "/"}
    assert unknown_variables(environ) == ["LINKJOLT_TLS_CERTIFICATE"]
    assert load(EdgeSettings, environ).data == "d"


def test_variables_that_are_no_settings_are_known() -> None:
    assert unknown_variables(dict.fromkeys(OTHER_VARIABLES, "1")) == []


@pytest.mark.parametrize(
    ("text", "other", "count"),
    [
        ("", "", 0),
        ("a", "", 1),
        ("", "ab", 2),
        ("abc", "abd", 1),
        ("ab", "ba", 2),
        ("kitten", "sitting", 3),
    ],
)
def test_edits_are_counted_as_by_levenshtein(text: str, other: str, count: int) -> None:
    assert edits(text, other) == edits(other, text) == count
