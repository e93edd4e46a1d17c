"""Groups commands whose help shows each command's summary whole."""

import click


class CommandGroup(click.Group):
    """A group of commands; click's own cuts their summaries to the width of the terminal."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(self.summaries(ctx))

    def summaries(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Lists the visible commands, each with the first paragraph of its help."""
        rows: list[tuple[str, str]] = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                rows.append((name, (command.help or "").partition("\n\n")[0]))
        return rows
