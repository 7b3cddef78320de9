"""``container import``: a container that was exported with its settings comes back."""

from __future__ import annotations

from typing import Any

import click

from runengine.cli import context
from runengine.cli.command import argument, command
from runengine.cli.flags import flag
from runengine.cli.output import archive_input


@command(
    "import",
    usage="[OPTIONS] FILE|-",
    params=[flag("--name", help="Give the container another name")],
)
@argument("file")
@click.pass_context
def import_container(ctx: click.Context, /, **params: Any) -> None:
    """Make the container that export --with-config wrote, and print its id."""
    with archive_input(params["file"]) as stream:
        made = context.engine(ctx).containers.import_with_config(stream, name=params["name"])
    context.write(f"{made.id}\n")
