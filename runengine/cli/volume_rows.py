"""Rows of ``volume ls``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.cli.table import Layout
from runengine.cli.template_values import Bound, Row

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_KNOWN = "N/A"
"""What Docker shows where a listing does not look."""
LAYOUT = Layout(
    {
        "Name": "VOLUME NAME",
        "Driver": "DRIVER",
        "Scope": "SCOPE",
        "Mountpoint": "MOUNTPOINT",
        "Labels": "LABELS",
        "Links": "LINKS",
        "Size": "SIZE",
        "Availability": "AVAILABILITY",
        "Group": "GROUP",
        "Status": "STATUS",
        "CreatedAt": "CREATED AT",
    },
    ("Driver", "Name"),
)


class VolumeRow(Row):
    """A volume; ``entry`` is Docker's ``/volumes`` shape."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self.entry = entry

    def field(self, name: str) -> Any:
        """A column's value; ``Label`` is a function of a key. Raises KeyError."""
        if name == "Label":
            return Bound("Label", lambda key: str(self.entry["Labels"].get(str(key), "")))
        return _FIELDS[name](self)

    def document(self) -> dict[str, Any]:
        """All columns, sorted by name as Docker has them."""
        return {name: _FIELDS[name](self) for name in sorted(_FIELDS)}

    def _labels(self) -> str:
        labels = self.entry["Labels"]
        return ",".join(f"{key}={labels[key]}" for key in sorted(labels))


def _plain(key: str) -> Callable[[VolumeRow], str]:
    return lambda row: str(row.entry[key])


def _unknown(_: VolumeRow) -> str:
    return NOT_KNOWN


_FIELDS: dict[str, Callable[[VolumeRow], str]] = {
    "Availability": _unknown,
    "CreatedAt": _plain("CreatedAt"),
    "Driver": _plain("Driver"),
    "Group": _unknown,
    "Labels": VolumeRow._labels,
    "Links": _unknown,
    "Mountpoint": _plain("Mountpoint"),
    "Name": _plain("Name"),
    "Scope": _plain("Scope"),
    "Size": _unknown,
    "Status": _unknown,
}
