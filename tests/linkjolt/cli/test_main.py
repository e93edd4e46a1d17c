"""The command line explains every command, loads none for its help, and names bad settings."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner

from linkjolt import __version__
from linkjolt.cli.main import COMMANDS, main
from linkjolt.settings import Shown

_HELP = """
import sys
from linkjolt.cli.main import main
main(["--help"], standalone_mode=False)
heavy = {"chdb", "clickhouse_connect", "redis", "starlette", "uvicorn", "ingest", "aggregator"}
print("loaded:", sorted(heavy & sys.modules.keys()))
"""


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.delenv("LINKJOLT_CONFIG", raising=False)
    return CliRunner()


def test_help_names_every_command_that_is_for_people_and_loads_none() -> None:
    command = [sys.executable, "-c", _HELP]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name, entry in COMMANDS.items():
        assert (f"\n  {name} " in output) is not entry.hidden
    assert output.endswith("loaded: []\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_loaded_and_explains_itself(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.help
    assert command.name == name


def test_the_version_is_printed(runner: CliRunner) -> None:
    assert runner.invoke(main, ["--version"]).output == f"linkjolt, version {__version__}\n"


def test_an_unknown_command_is_refused(runner: CliRunner) -> None:
    result = runner.invoke(main, ["upp"])
    assert result.exit_code == 2
    assert "No such command 'upp'" in result.output


def test_a_bad_setting_is_one_line_that_names_it(runner: CliRunner) -> None:
    result = runner.invoke(main, ["config", "show"], env={"LINKJOLT_EDGE_PORT": "70000"})
    assert result.exit_code == 1
    assert result.output.startswith("Error: LINKJOLT_EDGE_PORT: ")
    assert result.output.count("\n") == 1


def test_settings_are_shown_with_passwords_masked(runner: CliRunner) -> None:
    given = {"LINKJOLT_REDIS_URL": "redis://:hidden@h/0", "LINKJOLT_EDGES": "3"}
    table = runner.invoke(main, ["config", "show"], env=given).output
    rows = runner.invoke(main, ["config", "show", "--json"], env=given).output
    values = {row.variable: row.value for row in msgspec.json.decode(rows, type=list[Shown])}
    assert values["LINKJOLT_REDIS_URL"] == "redis://***@h/0"
    assert values["LINKJOLT_EDGES"] == "3"
    assert "hidden" not in table + rows
    assert all(variable in table for variable in values)


def every_command(
    name: str, command: click.Command, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield (*words, name), command
    if isinstance(command, click.Group):
        for inner, member in command.commands.items():
            yield from every_command(inner, member, (*words, name))


def test_h_helps_everywhere_and_no_summary_is_cut(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = click.Context(main)
    loaded = [(name, main.get_command(context, name)) for name in COMMANDS]
    found = [((), main), *(one for n, c in loaded if c for one in every_command(n, c))]
    assert len(found) > len(COMMANDS)
    for words, command in found:
        # click keeps the option of a command's first run, which may have been another test's alone.
        monkeypatch.setattr(command, "_help_option", None)
        output = runner.invoke(main, [*words, "-h"]).output
        assert "-h, --help" in output
        if isinstance(command, click.Group):
            whole = " ".join(output.split())
            for member in command.commands.values():
                assert " ".join((member.help or "").partition("\n\n")[0].split()) in whole


def test_a_foreign_package_of_our_name_stops_the_start_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "__init__.py").touch()
    done = subprocess.run(
        [sys.executable, "-m", "linkjolt", "keys", "list"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert f"the package reports in {tmp_path} is not LinkJolt's" in done.stderr


def test_a_variable_with_a_typing_error_stops_config_show(runner: CliRunner) -> None:
    result = runner.invoke(main, ["config", "show"], env={"LINKJOLT_EDGE_PROT": "1"})
    assert result.exit_code == 1
    message = "LINKJOLT_EDGE_PROT is not a setting: did you mean LINKJOLT_EDGE_PORT?"
    assert result.output == f"Error: {message}\n"


def test_config_show_warns_once_of_a_variable_of_another_release(runner: CliRunner) -> None:
    result = runner.invoke(main, ["config", "show"], env={"LINKJOLT_FROM_ANOTHER_RELEASE": "1"})
    assert result.exit_code == 0
    assert result.stderr.count("LINKJOLT_FROM_ANOTHER_RELEASE") == 1
