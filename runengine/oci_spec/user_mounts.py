"""Every mount that a request names itself: ``-v``, ``--mount`` and ``--tmpfs``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter
from runengine.oci_spec.mounts import (
    MountPoint,
    parents_first,
    parse_bind,
    resolve_mount,
    tmpfs_mount,
)

if TYPE_CHECKING:
    from runengine.model import HostConfig


def resolve_all(host: HostConfig) -> list[MountPoint]:
    """Every mount of ``-v``, ``--mount`` and ``--tmpfs``, parents before children.

    Raises InvalidParameter for two mounts on one destination and for what is malformed.
    """
    points = [parse_bind(text) for text in dict.fromkeys(host["Binds"])]
    points += [resolve_mount(mount) for mount in host["Mounts"]]
    taken: dict[str, str] = {}
    for point in points:
        if point.destination in taken:
            raise InvalidParameter(
                f"Duplicate mount point: {point.destination}",
                resolution="name each destination once",
            )
        taken[point.destination] = point.source
    # Docker lets -v and --mount win over --tmpfs on the same path; say so instead.
    for path, options in host["Tmpfs"].items():
        point = tmpfs_mount(path, options)
        if point.destination in taken:
            raise InvalidParameter(f"Duplicate mount point: {point.destination}")
        taken[point.destination] = ""
        points.append(point)
    return parents_first(points)
