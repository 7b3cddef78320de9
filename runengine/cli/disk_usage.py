"""``system df``: how much disk everything takes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context, table, units
from runengine.cli.command import ArgumentError, Option, command
from runengine.cli.formats import FORMAT_HELP
from runengine.cli.template_values import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Document = dict[str, Any]

_LAYOUT = table.Layout(
    {
        "Type": "TYPE",
        "TotalCount": "TOTAL",
        "Active": "ACTIVE",
        "Size": "SIZE",
        "Reclaimable": "RECLAIMABLE",
    },
    ("Type", "TotalCount", "Active", "Size", "Reclaimable"),
)
_UP = ("running", "paused", "restarting")


class UsageRow(Row):
    """One kind of object."""

    def __init__(self, kind: str, counts: tuple[int, int], sizes: tuple[int, int]) -> None:
        total, active = counts
        size, reclaimable = sizes
        percent = f" ({reclaimable * 100 // size}%)" if size else ""
        self._fields = {
            "Type": kind,
            "TotalCount": str(total),
            "Active": str(active),
            "Size": units.human_size(size),
            "Reclaimable": f"{units.human_size(reclaimable)}{percent}",
        }

    def field(self, name: str) -> Any:
        """A column's value. Raises KeyError."""
        return self._fields[name]

    def document(self) -> dict[str, Any]:
        """All columns, sorted by name as Docker has them."""
        return dict(sorted(self._fields.items()))


@command(
    "df",
    params=[
        Option(["--format", "form"], metavar="string", default="", help=FORMAT_HELP),
        Option(["-v", "--verbose"], is_flag=True, help="Show detailed information on space usage"),
    ],
)
@click.pass_context
def df(ctx: click.Context, /, form: str, verbose: bool) -> None:
    """Show how much disk images, containers and volumes take.

    Blobs are layers and documents as they came, kept beside the unpacked layers for push, save
    and repairs.
    """
    usage = context.engine(ctx).system.disk_usage()
    if not verbose:
        context.write(table.render(rows(usage), _LAYOUT, form))
    elif form == "json":
        from runengine.cli.template_values import to_json

        context.write(f"{to_json(usage)}\n")
    elif form:
        raise ArgumentError("--verbose takes no template, only --format json", ctx)
    else:
        context.write("\n".join(_sections(usage, time.time())))


def rows(usage: Document) -> list[UsageRow]:
    """The summary: Docker's four kinds, and blobs."""
    images, containers, volumes = usage["Images"], usage["Containers"], usage["Volumes"]
    up = [one for one in containers if one["State"] in _UP]
    written = [max(0, one["SizeRw"]) for one in containers]
    ended = [max(0, one["SizeRw"]) for one in containers if one["State"] not in _UP]
    blobs = usage["Blobs"]
    cache = sum(one["Size"] for one in usage["BuildCache"])
    return [
        UsageRow(
            "Images",
            (len(images), sum(one["Containers"] > 0 for one in images)),
            (usage["LayersSize"], usage["Runengine"]["UnusedLayersSize"]),
        ),
        UsageRow("Containers", (len(containers), len(up)), (sum(written), sum(ended))),
        UsageRow(
            "Local Volumes",
            (len(volumes), sum(one["UsageData"]["RefCount"] > 0 for one in volumes)),
            (
                sum(_volume_size(one) for one in volumes),
                sum(_volume_size(one) for one in volumes if not one["UsageData"]["RefCount"]),
            ),
        ),
        UsageRow("Build Cache", (len(usage["BuildCache"]), 0), (cache, cache)),
        UsageRow(
            "Blobs",
            (len(blobs), sum(one["InUse"] for one in blobs)),
            (
                sum(one["Size"] for one in blobs),
                sum(one["Size"] for one in blobs if not one["InUse"]),
            ),
        ),
    ]


def _volume_size(volume: Document) -> int:
    return max(0, int(volume["UsageData"]["Size"]))


def _sections(usage: Document, now_s: float) -> Iterable[str]:
    yield _section(
        "Images space usage:",
        ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE",
         "CONTAINERS"),
        [line for one in usage["Images"] for line in _image_lines(one, now_s)],
    )
    yield _section(
        "Containers space usage:",
        ("CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS",
         "NAMES"),
        [_container_line(one, now_s) for one in usage["Containers"]],
    )
    yield _section(
        "Local Volumes space usage:",
        ("VOLUME NAME", "LINKS", "SIZE"),
        [
            (one["Name"], str(one["UsageData"]["RefCount"]),
             units.human_size(_volume_size(one), 3))
            for one in usage["Volumes"]
        ],
    )
    yield _section(
        "Blobs space usage:",
        ("BLOB", "TYPE", "SIZE", "IN USE"),
        [
            (one["ID"].removeprefix("sha256:")[:12], one["Type"],
             units.human_size(one["Size"], 3), "yes" if one["InUse"] else "no")
            for one in usage["Blobs"]
        ],
    )


def _section(title: str, titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return f"{title}\n\n{table.align([titles, *lines])}"


def _image_lines(entry: Document, now_s: float) -> Iterable[Sequence[str]]:
    from runengine.cli.image_rows import rows_of

    for row in rows_of([entry], digests=False, full=False, now_s=now_s):
        yield tuple(
            str(row.field(field))
            for field in ("Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize",
                          "UniqueSize", "Containers")
        )


def _container_line(entry: Document, now_s: float) -> Sequence[str]:
    from runengine.cli.ps import ContainerRow

    row = ContainerRow(entry, full=False, now_s=now_s)
    return tuple(
        units.human_size(max(0, entry["SizeRw"]), 3) if field == "Size" else str(row.field(field))
        for field in ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status",
                      "Names")
    )
