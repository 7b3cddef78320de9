"""Names that systemd gives to cgroups: slices, and the scope that holds a container.

Sources: systemd.slice(5), systemd.unit(5); runc's docs/systemd.md for ``SLICE:PREFIX:NAME``.
"""

from __future__ import annotations

import os
import re

from runengine.errors import InvalidParameter, Unavailable

PREFIX = "runengine"
SUFFIX = ".slice"
ROOT_SLICE = "-.slice"
RUNNING = "/run/systemd/system"
_MAX_NAME = 255
_STEM = re.compile(r"[A-Za-z0-9_.\\]+(?:-[A-Za-z0-9_.\\]+)*")
"""Of the characters of a unit's name without the colon, which parts what the runtime is told."""


def require_systemd(marker: str = RUNNING) -> None:
    """Raise Unavailable unless systemd runs this host (sd_booted(3))."""
    if not os.path.isdir(marker):
        raise Unavailable(
            "the cgroup driver systemd needs systemd as the host's init",
            resolution="set cgroup_driver to cgroupfs in the configuration file",
        )


def check(name: str) -> str:
    """``name``, if it is a slice's. Raises InvalidParameter."""
    stem = name.removesuffix(SUFFIX)
    good = name.endswith(SUFFIX) and _STEM.fullmatch(stem) and len(name) <= _MAX_NAME
    if name != ROOT_SLICE and not good:
        raise InvalidParameter(
            f"invalid --cgroup-parent {name!r}: cgroup-parent for systemd cgroup should be a"
            ' valid slice named as "xxx.slice"',
            resolution="a dash stands for a level: a-b.slice is inside a.slice",
        )
    return name


def container_path(slice_name: str, container_id: str) -> str:
    """What the runtime wants as ``cgroupsPath``. Raises InvalidParameter."""
    return f"{check(slice_name)}:{PREFIX}:{container_id}"


def directory(cgroups_path: str) -> str:
    """Where the scope of ``SLICE:PREFIX:NAME`` is, below the root of a hierarchy."""
    parent, prefix, name = cgroups_path.split(":")
    return "/".join(("", *_levels(parent), f"{prefix}-{name}.scope"))


def scope(cgroups_path: str) -> str:
    """The unit's name, as systemctl(1) takes it."""
    return directory(cgroups_path).rpartition("/")[2]


def _levels(name: str) -> list[str]:
    """A slice is inside those that its name's beginnings name: a-b.slice → a.slice, a-b.slice."""
    if name == ROOT_SLICE:
        return []
    parts = name.removesuffix(SUFFIX).split("-")
    return ["-".join(parts[: end + 1]) + SUFFIX for end in range(len(parts))]
