"""``volume export`` and ``volume import``."""

from __future__ import annotations

import click

from runengine.cli import context
from runengine.cli.command import argument, command
from runengine.cli.flags import flag
from runengine.cli.output import archive_input, archive_output


@command(
    "export",
    usage="[OPTIONS] VOLUME",
    params=[flag("-o --output", help="Write to a file, instead of STDOUT")],
)
@argument("name")
@click.pass_context
def export(ctx: click.Context, /, name: str, output: str | None) -> None:
    """Export a volume's files as a tar archive."""
    manager = context.engine(ctx).volumes
    manager.get(name)
    with archive_output(output) as target:
        manager.export(name, target)


@command("import", usage="VOLUME FILE|-")
@argument("name")
@argument("file")
@click.pass_context
def import_files(ctx: click.Context, /, name: str, file: str) -> None:
    """Put the files of a tar archive into a volume."""
    manager = context.engine(ctx).volumes
    manager.get(name)
    with archive_input(file) as stream:
        manager.import_from(name, stream)
