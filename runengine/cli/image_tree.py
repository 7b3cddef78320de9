"""``images --tree``: what each image is made of, and which of it others have too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.cli import table, units

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runengine.mgr.image.indexes import Offered
    from runengine.mgr.image.sharing import SharedLayer

_TITLES = ("IMAGE", "ID", "SIZE", "UNIQUE", "IN USE")
_NONE = "<untagged>"
_SHARERS = 3
"""Names of other images that a layer's line has room for."""


class _Line(NamedTuple):
    name: str
    identifier: str
    size: str = ""
    unique: str = ""
    used: str = ""


def lines(
    entries: Sequence[dict[str, Any]],
    layers: Mapping[str, Sequence[SharedLayer]],
    offers: Mapping[str, Sequence[Offered]],
    *,
    full: bool,
) -> list[str]:
    """The tree of these images, entries of ``/images/json``, a line each."""
    names = {entry["Id"]: _names(entry, full=full)[0] for entry in entries}
    rows = [_Line(*_TITLES)]
    for entry in entries:
        rows.append(_head(entry, full=full))
        below = [
            *_platforms(entry["Id"], offers.get(entry["Id"], ()), full=full),
            *_layers(entry["Id"], layers.get(entry["Id"], ()), names, full=full),
        ]
        for position, line in enumerate(below):
            branch = "└─ " if position + 1 == len(below) else "├─ "
            rows.append(line._replace(name=f"{branch}{line.name}"))
    return [line.rstrip() for line in table.align(rows).splitlines()]


def _names(entry: dict[str, Any], *, full: bool) -> list[str]:
    """Tags; of an image without any its digests, and one word for one without names."""
    digests = entry["RepoDigests"] if full else [_cut(name) for name in entry["RepoDigests"]]
    return entry["RepoTags"] or digests or [_NONE]


def _cut(name: str) -> str:
    """A name by digest, as short as ids are."""
    repository, _, digest = name.partition("@")
    return f"{repository}@{_shown(digest, full=False)}"


def _head(entry: dict[str, Any], *, full: bool) -> _Line:
    return _Line(
        ", ".join(_names(entry, full=full)),
        _shown(entry["Id"], full=full),
        units.human_size(entry["Size"], 3),
        units.human_size(entry["Size"] - max(0, entry["SharedSize"]), 3),
        _containers(entry["Containers"]),
    )


def _containers(count: int) -> str:
    if not count:
        return ""
    return f"{count} container{'s' if count > 1 else ''}"


def _platforms(image_id: str, offers: Sequence[Offered], *, full: bool) -> Iterator[_Line]:
    """What the index of a multi-platform image has: this image, others that are here or not."""
    for offer in offers:
        what = offer.Platform or offer.Kind
        if offer.ImageId == image_id:
            where = "this image"
        else:
            where = "here" if offer.ImageId else "not here"
        yield _Line(f"{what} ({where})", _shown(offer.ImageId or offer.Digest, full=full))


def _layers(
    image_id: str, layers: Sequence[SharedLayer], names: Mapping[str, str], *, full: bool
) -> Iterator[_Line]:
    for layer in layers:
        others = [names.get(other, other[7:19]) for other in layer.images if other != image_id]
        shared = f"layer, shared with {_listed(others)}" if others else "layer"
        size = units.human_size(layer.size_bytes, 3) if layer.size_bytes >= 0 else "missing"
        yield _Line(shared, layer.key if full else layer.key[:12], size, "" if others else size)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHARERS
    shown = ", ".join(names[:_SHARERS])
    return f"{shown} and {more} more" if more > 0 else shown


def _shown(digest: str, *, full: bool) -> str:
    return digest if full else digest.removeprefix("sha256:")[:12]
