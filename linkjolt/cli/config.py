"""`linkjolt config`: prints the settings that a process started here would have."""

import click
import msgspec

from linkjolt.runtime.command_group import CommandGroup
from linkjolt.settings import shown, unknown_variables


@click.group(cls=CommandGroup)
def config() -> None:
    """Show the settings."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(as_json: bool) -> None:
    """Print every setting, its value with passwords masked, and what it is for."""
    rows = shown()
    for name in unknown_variables():
        click.echo(f"Warning: {name} is not a setting of this release; it is ignored.", err=True)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows)))
        return
    names = max(len(row.variable) for row in rows)
    values = max(len(row.value) for row in rows)
    for row in rows:
        click.echo(f"{row.variable:<{names}}  {row.value:<{values}}  {row.description}")
