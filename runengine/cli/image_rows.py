"""Rows of ``images``: one for each tag, or each digest without a tag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.cli import units
from runengine.cli.template_values import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

NONE = "<none>"
UNKNOWN = "N/A"
TITLES = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "VirtualSize": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
}


def columns(*, digests: bool) -> Sequence[str]:
    """The default table's columns."""
    middle = ("Digest",) if digests else ()
    return ("Repository", "Tag", *middle, "ID", "CreatedSince", "Size")


class ImageRow(Row):
    """An image under one of its names; ``entry`` is Docker's ``/images/json`` shape."""

    def __init__(
        self, entry: dict[str, Any], name: tuple[str, str, str], *, full: bool, now_s: float
    ) -> None:
        self.entry = entry
        self.repository, self.tag, self.digest = name
        self.full = full
        self.now_s = now_s

    def field(self, name: str) -> Any:
        """A column's value. Raises KeyError."""
        return _FIELDS[name](self)

    def document(self) -> dict[str, Any]:
        """All columns, sorted by name as Docker has them."""
        return {name: _FIELDS[name](self) for name in sorted(_FIELDS)}

    def _id(self) -> str:
        identifier = str(self.entry["Id"])
        return identifier if self.full else identifier.removeprefix("sha256:")[:12]

    def _created_since(self) -> str:
        created = self.entry["Created"]
        return units.ago(created, self.now_s) if created > 0 else UNKNOWN

    def _created_at(self) -> str:
        created = self.entry["Created"]
        return units.local_time(created) if created > 0 else UNKNOWN

    def _known(self, key: str, shown: Callable[[int], str]) -> str:
        value = self.entry.get(key, -1)
        return UNKNOWN if value is None or value < 0 else shown(value)

    def _unique_size(self) -> str:
        shared = self.entry.get("SharedSize", -1)
        if shared is None or shared < 0:
            return UNKNOWN
        return units.human_size(self.entry["Size"] - shared)


_FIELDS: dict[str, Callable[[ImageRow], str]] = {
    "ID": ImageRow._id,
    "Repository": lambda row: row.repository,
    "Tag": lambda row: row.tag,
    "Digest": lambda row: row.digest,
    "CreatedSince": ImageRow._created_since,
    "CreatedAt": ImageRow._created_at,
    "Size": lambda row: units.human_size(row.entry["Size"], 3),
    "VirtualSize": lambda row: units.human_size(row.entry["Size"]),
    "Containers": lambda row: row._known("Containers", str),
    "SharedSize": lambda row: row._known("SharedSize", units.human_size),
    "UniqueSize": ImageRow._unique_size,
}


def rows_of(
    entries: Iterable[dict[str, Any]], *, digests: bool, full: bool, now_s: float
) -> list[ImageRow]:
    """Rows in the entries' order. With ``digests`` a tag has a row for each of its digests."""
    return [
        ImageRow(entry, name, full=full, now_s=now_s)
        for entry in entries
        for name in _names(entry, digests=digests)
    ]


def _names(entry: dict[str, Any], *, digests: bool) -> Iterator[tuple[str, str, str]]:
    tags = _grouped(entry.get("RepoTags") or [], ":")
    hashes = _grouped(entry.get("RepoDigests") or [], "@")
    if not tags and not hashes:
        yield NONE, NONE, NONE
    for repository, names in tags.items():
        known = hashes.pop(repository, []) if digests else []
        hashes.pop(repository, None)
        for name in names:
            for digest in known or [NONE]:
                yield repository, name, digest
    for repository, known in hashes.items():
        for digest in known if digests else [NONE]:
            yield repository, NONE, digest


def _grouped(names: Iterable[str], separator: str) -> dict[str, list[str]]:
    """Tags or digests by repository."""
    found: dict[str, list[str]] = {}
    for name in names:
        repository, _, rest = name.rpartition(separator)
        if name != f"{NONE}:{NONE}" and repository:
            found.setdefault(repository, []).append(rest)
    return found
