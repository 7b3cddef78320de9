"""Groups of commands that import a command's module only when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import click

from runengine.cli.command import ArgumentError, FlagError, Normaliser, help_option, nearest


class Entry(NamedTuple):
    """Where a command is (``module:attribute`` below ``runengine.cli``) and its line of help."""

    target: str
    brief: str
    hidden: bool = False
    alias_of: str | None = None


class LazyGroup(click.Group):
    """A group made from a table; ``--help`` needs the table only."""

    def __init__(self, *args: Any, table: dict[str, Entry], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names shown in help, sorted."""
        return sorted(n for n, e in self.table.items() if not e.hidden and e.alias_of is None)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command's module."""
        entry = self.table.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        found: click.Command = getattr(import_module(f"runengine.cli.{module}"), attribute)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command under the name that the user typed. Raises ArgumentError for a wrong one."""
        found = self.get_command(ctx, args[0])
        if found is None:
            shown = (name for name, entry in self.table.items() if not entry.hidden)
            raise ArgumentError(
                f"runengine: unknown command: {ctx.command_path} {args[0]}"
                f"{nearest(args[0], shown)}",
                ctx,
            )
        return args[0], found, args[1:]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the group's own options as pflag would; without a command, show the help."""
        words = Normaliser(ctx, self.get_params(ctx))
        words.run(args, interspersed=False)
        try:
            rest = super().parse_args(ctx, [*words.args, "--", *words.positional])
        except click.BadParameter as exc:
            raise FlagError(exc.message, ctx) from exc
        ctx.params.update(words.switches)
        if not words.positional:
            click.echo(self.get_help(ctx))
            ctx.exit()
        return rest

    def get_help_option(self, ctx: click.Context) -> click.Option:  # noqa: ARG002
        """Our own, because click's imports ``inspect``."""
        return help_option(self.params)

    def get_help(self, ctx: click.Context) -> str:
        """Help laid out as Docker's."""
        from runengine.cli import help_page

        return help_page.group_help(self, ctx)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """What follows the group's name in the usage line."""
        return ["[OPTIONS] COMMAND" if ctx.parent is None else "COMMAND"]
