"""``gc``: blobs and layers that nothing refers to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runengine.cli import context, units
from runengine.cli.command import command
from runengine.cli.flags import flag
from runengine.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.mgr.image.garbage import Garbage

_SHOWN = {
    "blob": "blob",
    "layer": "layer",
    "partial": "partial download",
    "staging": "half-unpacked layer",
}


@command(
    "gc",
    params=[
        flag("-a --all", "bool",
             help="Also what a pull that broke off left within the last day, to go on from there"),
        flag("-n --dry-run", "bool", help="Only show what would be deleted, and how large it is"),
    ],
)
@click.pass_context
def gc(ctx: click.Context, /, *, all: bool, dry_run: bool) -> None:
    """Delete layers, blobs and downloads that no image and no container needs.

    Images are never deleted by this (see `image prune`). The engine does the same by itself
    whenever images or containers go; this is for what was left by violent deaths.
    """
    manager = context.engine(ctx).images
    if dry_run:
        found = manager.find_garbage(everything=all)
        context.write("".join(f"{line}\n" for line in _lines(found)))
        total = sum(one.size_bytes for one in found)
        context.write(f"Reclaimable space: {units.human_size(total)}\n")
        return
    swept = manager.collect_garbage(everything=all)
    if swept is None:
        raise Conflict(
            "an image is being brought in: nothing is deleted meanwhile",
            resolution="try again when the pull, load or commit has ended",
        )
    context.write(
        "".join(f"deleted: {name}\n" for name in (*swept.layers, *swept.blobs))
        + f"Total reclaimed space: {units.human_size(swept.freed_bytes)}\n"
    )


def _lines(found: Sequence[Garbage]) -> list[str]:
    width = max(map(len, _SHOWN.values()))
    return [
        f"{units.human_size(one.size_bytes, 3):>7}  {_SHOWN[one.kind]:<{width}}  {one.name}"
        for one in found
    ]
