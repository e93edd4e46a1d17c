"""Names every command of `linkjolt`, and imports the one that is called."""

import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import click

import linkjolt
from linkjolt import __version__
from linkjolt.runtime.command_group import CommandGroup
from linkjolt.settings import BadSetting

# Imported only when a command of theirs is called: help and small commands stay quick.
# ruff: noqa: PLC0415
_PROCESS_PACKAGES = ("ingest", "aggregator", "reports", "outbound")
_Commands = Mapping[str, click.Command]


def _own() -> _Commands:
    from linkjolt.cli.config import config
    from linkjolt.cli.keys import keys
    from linkjolt.cli.registry import accounts, links
    from linkjolt.cli.secrets import secrets
    from linkjolt.cli.users import users

    return {
        "accounts": accounts,
        "keys": keys,
        "links": links,
        "users": users,
        "secrets": secrets,
        "config": config,
    }


def _installation() -> _Commands:
    from linkjolt.up.up import up

    return {"up": up}


def _warehouse() -> _Commands:
    from linkjolt.up.warehouse_process import warehouse

    return {"warehouse": warehouse}


def _ingest() -> _Commands:
    from ingest.commands import edge
    from ingest.replay.replay import replay

    return {"edge": edge, "replay": replay}


def _aggregator() -> _Commands:
    from aggregator.commands import aggregator, migrate
    from aggregator.maintenance.commands import (
        audit_command,
        audit_log,
        purge,
        rebuild,
        rejects,
        restore,
    )

    return {
        "aggregator": aggregator,
        "migrate": migrate,
        "audit": audit_command,
        "audit-log": audit_log,
        "rebuild": rebuild,
        "restore": restore,
        "purge": purge,
        "rejects": rejects,
    }


def _reports() -> _Commands:
    from reports.commands import reports
    from reports.terminal.commands import report, top

    return {"reports": reports, "report": report, "top": top}


def _outbound() -> _Commands:
    from outbound.commands import webhooks

    return {"webhooks": webhooks}


class CommandEntry(NamedTuple):
    """One command: the function that imports it among others, and its line in the help."""

    load: Callable[[], _Commands]
    help: str
    hidden: bool = False


COMMANDS = {
    "up": CommandEntry(_installation, "Run everything on this machine."),
    "accounts": CommandEntry(_own, "Create, list and disable accounts."),
    "keys": CommandEntry(_own, "Create, list and revoke API keys; rotate the click ids' key."),
    "links": CommandEntry(_own, "Import and export links."),
    "users": CommandEntry(_own, "Invite, reset, list and remove the people who sign in."),
    "secrets": CommandEntry(_own, "Rotate the keys that seal secrets."),
    "config": CommandEntry(_own, "Show the settings."),
    "edge": CommandEntry(_ingest, "Run one edge: tracking links and conversions."),
    "aggregator": CommandEntry(_aggregator, "Run the aggregator."),
    "reports": CommandEntry(_reports, "Run the report API and the dashboard."),
    "report": CommandEntry(_reports, "Print a report, or save it as CSV."),
    "top": CommandEntry(_reports, "Watch clicks and conversions as they are stored."),
    "webhooks": CommandEntry(_outbound, "Deliver webhooks, or receive them."),
    "migrate": CommandEntry(_aggregator, "Create or update the warehouse's tables."),
    "audit": CommandEntry(_aggregator, "Check that all accepted is stored once."),
    "audit-log": CommandEntry(_aggregator, "Verify the log of who changed what."),
    "rebuild": CommandEntry(_aggregator, "Rebuild rollups from raw events."),
    "restore": CommandEntry(_aggregator, "Store again what raw lost, from the streams."),
    "purge": CommandEntry(_aggregator, "Delete what was posted with test keys."),
    "rejects": CommandEntry(_aggregator, "List, show and replay what was not stored."),
    "replay": CommandEntry(_ingest, "Replay an access log as clicks."),
    "warehouse": CommandEntry(_warehouse, "Run aggregator and reports.", hidden=True),
}


class LazyGroup(CommandGroup):
    """A group whose commands are imported when called, not when listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, entry in COMMANDS.items() if not entry.hidden]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        check_packages()
        return entry.load()[cmd_name]

    def summaries(self, ctx: click.Context) -> list[tuple[str, str]]:
        return [(name, COMMANDS[name].help) for name in self.list_commands(ctx)]

    def invoke(self, ctx: click.Context) -> object:
        # Whatever any command writes, logs of servers and saved reports among it, is this user's.
        os.umask(0o077)
        try:
            return super().invoke(ctx)
        except BadSetting as error:
            raise click.ClickException(str(error)) from None


def check_packages() -> None:
    """Refuses to start beside foreign packages that have the names of ours."""
    home = Path(linkjolt.__file__).parent.parent
    for name in _PROCESS_PACKAGES:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise click.ClickException(f"the package {name} of LinkJolt is missing from {home}")
        folder = Path(spec.origin).parent
        if folder.parent != home:
            raise click.ClickException(
                f"the package {name} in {folder.parent} is not LinkJolt's, which is in {home}:"
                " remove it from PYTHONPATH, or start from another folder"
            )


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="linkjolt")
def main() -> None:
    """LinkJolt counts the clicks and conversions of affiliate links, each exactly once."""
