"""``top``: the processes of a container."""

from __future__ import annotations

import click

from runengine.cli import context, table
from runengine.cli.command import argument, command

LEAST_WIDTH = 20


@command("top", usage="CONTAINER [ps OPTIONS]", interspersed=False, latest=True)
@argument("name")
@argument("ps_options", nargs=-1)
@click.pass_context
def top(ctx: click.Context, /, name: str, ps_options: tuple[str, ...]) -> None:
    """Display the running processes of a container."""
    found = context.engine(ctx).containers.top(name, list(ps_options))
    lines = [found["Titles"], *found["Processes"]]
    cells = [[context.one_line(str(cell)) for cell in line] for line in lines]
    context.write(table.align(cells, least=LEAST_WIDTH))
