"""The command line: names every command, and loads the one that is called."""

import importlib
from typing import NamedTuple, cast

import click

from linkjolt import __version__
from linkjolt.settings import BadSetting


class _Entry(NamedTuple):
    """Where a command is defined (`module:attribute`), and its line in the help."""

    target: str
    help: str
    hidden: bool = False


_MAINTENANCE = "aggregator.maintenance.commands"
# By name, so that this package imports none of those that import it, and help stays quick.
COMMANDS = {
    "up": _Entry("linkjolt.up.up:up", "Run everything on this machine."),
    "keys": _Entry("linkjolt.cli.registry:keys", "Create, list and revoke API keys."),
    "links": _Entry("linkjolt.cli.registry:links", "Import and export links."),
    "config": _Entry("linkjolt.cli.config:config", "Show the settings."),
    "edge": _Entry("ingest.commands:edge", "Run one edge: tracking links and conversions."),
    "aggregator": _Entry("aggregator.commands:aggregator", "Run the aggregator."),
    "reports": _Entry("reports.commands:reports", "Run the report API and the dashboard."),
    "report": _Entry("reports.terminal.terminal:report", "Print a report, or save it as CSV."),
    "top": _Entry(
        "reports.terminal.terminal:top", "Watch clicks and conversions as they are stored."
    ),
    "webhooks": _Entry("outbound.commands:webhooks", "Deliver webhooks, or receive them."),
    "migrate": _Entry("aggregator.commands:migrate", "Create or update the warehouse's tables."),
    "audit": _Entry(f"{_MAINTENANCE}:audit_command", "Check that all accepted is stored once."),
    "rebuild": _Entry(f"{_MAINTENANCE}:rebuild", "Rebuild rollups from raw events."),
    "restore": _Entry(f"{_MAINTENANCE}:restore", "Store again what raw lost, from the streams."),
    "purge": _Entry(f"{_MAINTENANCE}:purge", "Delete what was posted with test keys."),
    "rejects": _Entry(f"{_MAINTENANCE}:rejects", "List, show and replay what was not stored."),
    "replay": _Entry("ingest.replay.replay:replay", "Replay an access log as clicks."),
    "warehouse": _Entry(
        "linkjolt.up.warehouse_process:warehouse", "Run aggregator and reports.", hidden=True
    ),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when called, not when listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, entry in COMMANDS.items() if not entry.hidden]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        return cast(click.Command, getattr(importlib.import_module(module), attribute))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, COMMANDS[name].help) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BadSetting as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=LazyGroup)
@click.version_option(__version__, prog_name="linkjolt")
def main() -> None:
    """LinkJolt counts the clicks and conversions of affiliate links, each exactly once."""
