"""``ps``: the list of containers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context, port_texts, table, units
from runengine.cli.command import Option, command
from runengine.cli.filters import filter_option
from runengine.cli.formats import (
    FORMAT_HELP,
    heading_option,
    list_format,
    quiet_format,
    sorted_rows,
)
from runengine.cli.quoting import quote
from runengine.cli.template_values import Bound, Row

if TYPE_CHECKING:
    from collections.abc import Callable

_COMMAND_WIDTH = 20
_MOUNT_WIDTH = 15
_TITLES = {
    "ID": "CONTAINER ID",
    "Names": "NAMES",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Ports": "PORTS",
    "State": "STATE",
    "Status": "STATUS",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
}
_COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")


class ContainerRow(Row):
    """A container in a listing; ``entry`` is Docker's ``/containers/json`` shape."""

    def __init__(self, entry: dict[str, Any], *, full: bool, now_s: float) -> None:
        self.entry = entry
        self.full = full
        self.now_s = now_s

    def field(self, name: str) -> Any:
        """A column's value. Raises KeyError."""
        if name == "Label":
            return Bound("Label", self._label)
        return _FIELDS[name](self)

    def document(self) -> dict[str, Any]:
        """All columns, sorted by name as Docker has them."""
        return {name: _FIELDS[name](self) for name in sorted(_FIELDS)}

    def _label(self, key: Any) -> str:
        return str((self.entry.get("Labels") or {}).get(str(key), ""))

    def _id(self) -> str:
        identifier = str(self.entry["Id"])
        return identifier if self.full else identifier[:12]

    def _names(self) -> str:
        names = [str(name).removeprefix("/") for name in self.entry["Names"]]
        return ",".join(names if self.full else [name for name in names if "/" not in name])

    def _image(self) -> str:
        image = str(self.entry["Image"])
        if not image:
            return "<no image>"
        if self.full:
            return image
        short = str(self.entry.get("ImageID", "")).removeprefix("sha256:")[:12]
        if short and short == image.removeprefix("sha256:")[:12]:
            return short
        return familiar(image.partition("@")[0])

    def _command(self) -> str:
        words = self.entry["Command"]
        return quote(words if self.full else units.ellipsis(words, _COMMAND_WIDTH))

    def _created_at(self) -> str:
        return units.local_time(self.entry["Created"])

    def _running_for(self) -> str:
        return units.ago(self.entry["Created"], self.now_s)

    def _ports(self) -> str:
        return port_texts.listed(self.entry.get("Ports") or [])

    def _size(self) -> str:
        written = units.human_size(self.entry.get("SizeRw") or 0, 3)
        whole = self.entry.get("SizeRootFs") or 0
        return f"{written} (virtual {units.human_size(whole, 3)})" if whole else written

    def _labels(self) -> str:
        labels = self.entry.get("Labels") or {}
        return ",".join(f"{key}={labels[key]}" for key in sorted(labels))

    def _mounts(self) -> str:
        names = [m.get("Name") or m.get("Source") or "" for m in self.entry.get("Mounts") or []]
        return ",".join(n if self.full else units.ellipsis(n, _MOUNT_WIDTH) for n in names)

    def _local_volumes(self) -> str:
        mounts = self.entry.get("Mounts") or []
        return str(sum(mount.get("Driver") == "local" for mount in mounts))

    def _networks(self) -> str:
        return ",".join((self.entry.get("NetworkSettings") or {}).get("Networks") or {})


def familiar(reference: str) -> str:
    """A name without what is the default: ``docker.io/library/debian`` → ``debian``."""
    return reference.removeprefix("docker.io/library/").removeprefix("docker.io/")


_FIELDS: dict[str, Callable[[ContainerRow], str]] = {
    "ID": ContainerRow._id,
    "Names": ContainerRow._names,
    "Image": ContainerRow._image,
    "Command": ContainerRow._command,
    "CreatedAt": ContainerRow._created_at,
    "RunningFor": ContainerRow._running_for,
    "Ports": ContainerRow._ports,
    "State": lambda row: str(row.entry["State"]),
    "Status": lambda row: str(row.entry["Status"]),
    "Size": ContainerRow._size,
    "Labels": ContainerRow._labels,
    "Mounts": ContainerRow._mounts,
    "LocalVolumes": ContainerRow._local_volumes,
    "Networks": ContainerRow._networks,
}

_ORDERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "command": lambda entry: entry["Command"],
    "created": lambda entry: -entry["Created"],
    "id": lambda entry: entry["Id"],
    "image": lambda entry: entry["Image"],
    "names": lambda entry: entry["Names"],
    "runningfor": lambda entry: entry["Created"],
    "size": lambda entry: entry.get("SizeRw") or 0,
    "status": lambda entry: entry["State"],
}


@command(
    "ps",
    params=[
        Option(
            ["-a", "--all", "everything"],
            is_flag=True,
            help="Show all containers (default shows just running)",
        ),
        filter_option("-f"),
        Option(["--format", "form"], metavar="string", default="", help=FORMAT_HELP),
        Option(
            ["-n", "--last"],
            type=int,
            metavar="int",
            default=-1,
            help="Show n last created containers (includes all states)",
        ),
        Option(
            ["-l", "--latest"],
            is_flag=True,
            help="Show the latest created container (includes all states)",
        ),
        Option(["--no-trunc", "full"], is_flag=True, help="Don't truncate output"),
        heading_option(),
        Option(["-q", "--quiet"], is_flag=True, help="Only display container IDs"),
        Option(["-s", "--size"], is_flag=True, help="Display total file sizes"),
        Option(["--sort"], metavar="string", default="", help=f"Sort by {', '.join(_ORDERS)}"),
    ],
)
@click.pass_context
def ps(ctx: click.Context, /, **options: Any) -> None:
    """List containers."""
    form, full = list_format(options, "psFormat"), options["full"]
    size = options["size"] or options["sort"] == "size"
    size |= not options["quiet"] and ".Size" in form
    found = context.engine(ctx).containers.list(
        all=options["everything"],
        filters=options["filters"],
        limit=1 if options["latest"] else max(options["last"], 0),
        size=size,
    )
    if options["quiet"]:
        quiet_format(form)
    now_s = time.time()
    found = sorted_rows(found, options["sort"], _ORDERS)
    rows = [ContainerRow(entry, full=full, now_s=now_s) for entry in found]
    if options["quiet"]:
        context.write("".join(f"{row.field('ID')}\n" for row in rows))
        return
    columns = (*_COLUMNS, "Size") if size else _COLUMNS
    layout = table.Layout(_TITLES, columns, heading=not options["bare"])
    context.write(table.render(rows, layout, form))
