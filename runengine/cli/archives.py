"""``save`` and ``export``: images and root filesystems as tar archives."""

from __future__ import annotations

from typing import Any

import click

from runengine.cli import context
from runengine.cli.command import Option, argument, command
from runengine.cli.output import archive_output
from runengine.errors import InvalidParameter


def _output_option() -> Option:
    return Option(
        ["-o", "--output", "path"],
        metavar="string",
        default=None,
        help="Write to a file, instead of STDOUT",
    )


@command(
    "save",
    usage="[OPTIONS] IMAGE [IMAGE...]",
    params=[
        _output_option(),
        Option(
            ["--format", "form"],
            metavar="string",
            default="",
            help="docker-archive or oci-archive (default: readable as both)",
        ),
        Option(
            ["--platform"],
            metavar="string",
            default=None,
            help="Save only if the image is for this platform",
        ),
        Option(["-q", "--quiet"], is_flag=True, hidden=True),
        Option(["-m", "--multi-image-archive"], is_flag=True, hidden=True),
    ],
)
@argument("names", nargs=-1, required=True)
@click.pass_context
def save(ctx: click.Context, /, **options: Any) -> None:
    """Save one or more images to a tar archive (streamed to STDOUT by default)."""
    manager = context.engine(ctx).images
    with archive_output(options["path"]) as target:
        manager.save(
            options["names"], target, format=options["form"], platform=options["platform"]
        )


@command(
    "export",
    usage="[OPTIONS] CONTAINER",
    params=[
        _output_option(),
        Option(
            ["--with-config"],
            is_flag=True,
            help="Write all of the container, for 'container import' to make it elsewhere",
        ),
        Option(["--with-volumes"], is_flag=True, help="... and the data of its volumes"),
    ],
)
@argument("container")
@click.pass_context
def export(ctx: click.Context, /, container: str, path: str | None, **whole: bool) -> None:
    """Export a container's filesystem as a tar archive."""
    manager = context.engine(ctx).containers
    manager.resolve(container)
    if whole["with_volumes"] and not whole["with_config"]:
        raise InvalidParameter("--with-volumes is for --with-config")
    with archive_output(path) as target:
        if whole["with_config"]:
            manager.export_with_config(container, target, with_volumes=whole["with_volumes"])
        else:
            manager.export(container, target)
