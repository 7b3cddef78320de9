"""Whether binds can propagate as asked: that depends on the mounts that their sources are on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runengine.linux.mount import MountInfo
    from runengine.oci_spec.mounts import MountPoint

_NEEDY = frozenset({"shared", "rshared", "slave", "rslave"})


def needs_table(points: Iterable[MountPoint]) -> bool:
    """Whether any of the mounts is such that the host's have to be looked at."""
    return any(point.type == "bind" and point.propagation in _NEEDY for point in points)


def check_propagation(points: Iterable[MountPoint], table: Sequence[MountInfo]) -> None:
    """Raise InvalidParameter for a bind that cannot propagate as asked.

    ``table`` is the host's ``linux.mount.mounts()``: what is mounted beneath a shared bind only
    shows on the other side if the source's own mount is shared (mount_namespaces(7)).
    """
    for point in points:
        if point.type != "bind" or point.propagation not in _NEEDY:
            continue
        wanted = point.propagation.removeprefix("r")
        holder = _mount_of(point.source, table)
        marks = [word.partition(":")[0] for word in holder.propagation] if holder else []
        if "shared" in marks or (wanted == "slave" and "master" in marks):
            continue
        where = holder.target if holder else "/"
        kind = "shared" if wanted == "shared" else "shared or slave"
        raise InvalidParameter(
            f"path {point.source} is mounted on {where} but it is not a {kind} mount",
            resolution=f"mount --make-shared {where}, or leave out {point.propagation}",
        )


def _mount_of(path: str, table: Sequence[MountInfo]) -> MountInfo | None:
    """The mount that holds ``path``: the longest target above it, the last one there."""
    found: MountInfo | None = None
    for entry in table:
        above = entry.target.rstrip("/") + "/"
        if f"{path}/".startswith(above) and (not found or len(entry.target) >= len(found.target)):
            found = entry
    return found
