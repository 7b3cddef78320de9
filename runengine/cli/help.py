"""``help``: the help page of a command, as ``COMMAND --help`` shows it."""

from __future__ import annotations

import click

from runengine.cli.command import ArgumentError, argument, command


@command("help", usage="[COMMAND...]", needs_root=False)
@argument("names", nargs=-1)
@click.pass_context
def help_command(ctx: click.Context, /, names: tuple[str, ...]) -> None:
    """Help about a command."""
    here = ctx.find_root()
    for name in names:
        found = here.command.get_command(here, name) if isinstance(
            here.command, click.Group
        ) else None
        if found is None:
            raise ArgumentError(f"runengine: unknown help topic: {' '.join(names)}", ctx)
        here = click.Context(found, parent=here, info_name=name)
    click.echo(here.command.get_help(here))
