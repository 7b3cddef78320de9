"""Rows of ``network ls``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.cli.table import Layout
from runengine.cli.template_values import Bound, Row

if TYPE_CHECKING:
    from collections.abc import Callable

LAYOUT = Layout(
    {
        "ID": "NETWORK ID",
        "Name": "NAME",
        "Driver": "DRIVER",
        "Scope": "SCOPE",
        "IPv4": "IPV4",
        "IPv6": "IPV6",
        "Internal": "INTERNAL",
        "Labels": "LABELS",
        "CreatedAt": "CREATED AT",
    },
    ("ID", "Name", "Driver", "Scope"),
)


class NetworkRow(Row):
    """A network; ``entry`` is Docker's ``/networks`` shape."""

    def __init__(self, entry: dict[str, Any], *, full: bool) -> None:
        self.entry = entry
        self.full = full

    def field(self, name: str) -> Any:
        """A column's value; ``Label`` is a function of a key. Raises KeyError."""
        if name == "Label":
            return Bound("Label", lambda key: str(self.entry["Labels"].get(str(key), "")))
        return _FIELDS[name](self)

    def document(self) -> dict[str, Any]:
        """All columns, sorted by name as Docker has them."""
        return {name: _FIELDS[name](self) for name in sorted(_FIELDS)}

    def _id(self) -> str:
        identifier = str(self.entry["Id"])
        return identifier if self.full else identifier[:12]

    def _labels(self) -> str:
        labels = self.entry["Labels"]
        return ",".join(f"{key}={labels[key]}" for key in sorted(labels))

    def _created_at(self) -> str:
        day, _, time = str(self.entry["Created"]).removesuffix("Z").partition("T")
        return f"{day} {time} +0000 UTC"


def _switch(key: str) -> Callable[[NetworkRow], str]:
    return lambda row: "true" if row.entry[key] else "false"


_FIELDS: dict[str, Callable[[NetworkRow], str]] = {
    "ID": NetworkRow._id,
    "Name": lambda row: str(row.entry["Name"]),
    "Driver": lambda row: str(row.entry["Driver"]),
    "Scope": lambda row: str(row.entry["Scope"]),
    "IPv4": _switch("EnableIPv4"),
    "IPv6": _switch("EnableIPv6"),
    "Internal": _switch("Internal"),
    "Labels": NetworkRow._labels,
    "CreatedAt": NetworkRow._created_at,
}
