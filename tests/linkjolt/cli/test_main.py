import subprocess
import sys

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


def test_the_version_is_told(runner: CliRunner) -> None:
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
    given = {"LINKJOLT_REDIS_URL": "redis://:secret@h/0", "LINKJOLT_EDGES": "3"}
    table = runner.invoke(main, ["config", "show"], env=given).output
    rows = runner.invoke(main, ["config", "show", "--json"], env=given).output
    values = {row.variable: row.value for row in msgspec.json.decode(rows, type=list[Shown])}
    assert values["LINKJOLT_REDIS_URL"] == "redis://***@h/0"
    assert values["LINKJOLT_EDGES"] == "3"
    assert "secret" not in table + rows
    assert all(variable in table for variable in values)
