"""The commands of ``volume``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context, env_files, selection, table
from runengine.cli.command import ArgumentError, Option, argument, command
from runengine.cli.filters import filter_option
from runengine.cli.flags import flag
from runengine.cli.formats import FORMAT_HELP, heading_option, list_format, quiet_format
from runengine.cli.network import key_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.mgr.volume.request import VolumeConfig

PRUNE_WARNING = (
    "WARNING! This will remove {what} not used by at least one container.\n"
    "Are you sure you want to continue? [y/N] "
)


@command(
    "create",
    usage="[OPTIONS] [VOLUME]",
    params=[
        flag("-d --driver", default="local", help="Specify volume driver name"),
        flag("-l --label", "list", help="Set metadata for a volume"),
        flag("--name", default="", hidden=True, help="Specify volume name"),
        flag("-o --opt", "list", convert=key_value, help="Set driver specific options"),
    ],
)
@argument("volume", required=False, default="")
@click.pass_context
def create(ctx: click.Context, /, volume: str, **params: Any) -> None:
    """Create a volume."""
    if volume and params["name"]:
        raise ArgumentError(
            "conflicting options: cannot specify a volume-name through both --name and as a"
            " positional arg",
            ctx,
        )
    config = _config(volume or params["name"], params)
    context.write(f"{context.engine(ctx).volumes.create(config).name}\n")


def _config(name: str, params: dict[str, Any]) -> VolumeConfig:
    return {
        "Name": name,
        "Driver": params["driver"],
        "DriverOpts": dict(params["opt"]),
        "Labels": env_files.labels(params["label"], ()),
    }


@command(
    "ls",
    params=[
        filter_option("-f"),
        Option(["--format", "form"], metavar="string", default="", help=FORMAT_HELP),
        heading_option("-n"),
        Option(["-q", "--quiet"], is_flag=True, help="Only display volume names"),
    ],
)
@click.pass_context
def ls(ctx: click.Context, /, **options: Any) -> None:
    """List volumes."""
    from runengine.cli.volume_rows import LAYOUT, VolumeRow

    rows = [VolumeRow(entry) for entry in context.engine(ctx).volumes.list(options["filters"])]
    if options["quiet"]:
        quiet_format(options["form"])
        context.write("".join(f"{row.field('Name')}\n" for row in rows))
        return
    layout = LAYOUT._replace(heading=not options["bare"])
    context.write(table.render(rows, layout, list_format(options, "volumesFormat")))


@command("exists", usage="VOLUME")
@argument("name")
@click.pass_context
def exists(ctx: click.Context, /, name: str) -> None:
    """Tell by the exit code whether a volume exists: 0 if it does, else 1."""
    ctx.exit(0 if context.engine(ctx).volumes.exists(name) else 1)


@command(
    "rm",
    usage="[OPTIONS] VOLUME [VOLUME...]",
    params=[
        flag("-a --all everything", "bool", help="Remove all volumes"),
        flag("-f --force", "bool", help="Do not error if the volume does not exist"),
    ],
)
@argument("names", nargs=-1)
@click.pass_context
def rm(
    ctx: click.Context, /, names: Sequence[str], *, everything: bool, force: bool
) -> None:
    """Remove one or more volumes, with their data."""
    selection.require_one_way(ctx, names, everything=everything)
    manager = context.engine(ctx).volumes
    if everything:
        names = [entry["Name"] for entry in manager.list()]
    context.for_each(names, lambda name: manager.remove(name, force=force))


@command(
    "prune",
    params=[
        flag("-a --all", "bool", help="Remove all unused volumes, not just anonymous ones"),
        filter_option(),
        flag("-f --force", "bool", help="Do not prompt for confirmation"),
    ],
)
@click.pass_context
def prune(ctx: click.Context, /, filters: dict[str, list[str]], **options: Any) -> None:
    """Remove anonymous volumes that no container uses."""
    from runengine.cli.units import human_size

    if options["all"]:
        if "all" in filters:
            raise ArgumentError(
                "conflicting options: cannot specify both --all and --filter all=1", ctx
            )
        filters = {**filters, "all": ["true"]}
    what = "all volumes" if options["all"] else "anonymous local volumes"
    if not options["force"] and not _agreed(PRUNE_WARNING.format(what=what)):
        return
    removed = context.engine(ctx).volumes.prune(filters)
    if removed.names:
        names = "".join(f"{name}\n" for name in removed.names)
        context.write(f"Deleted Volumes:\n{names}\n")
    context.write(f"Total reclaimed space: {human_size(removed.reclaimed_bytes)}\n")


def _agreed(question: str) -> bool:
    """Whether the user says yes; an end of the input is a no."""
    context.write(question)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
