"""Where control groups are: v1 (hybrid included) has a folder per controller, v2 one for all."""

from __future__ import annotations

import os
import posixpath
import time
from typing import NamedTuple

from runengine.cgroups import slices
from runengine.errors import InvalidParameter
from runengine.linux import mount

ROOT = "/sys/fs/cgroup"
UNIFIED = "unified"

CGROUPFS = "cgroupfs"
SYSTEMD = "systemd"
DEFAULT_PARENTS = {CGROUPFS: "runengine", SYSTEMD: "system.slice"}
"""Where containers go, by who makes their cgroups: the runtime itself, or systemd for it."""


class Layout(NamedTuple):
    """The cgroup hierarchies of this host."""

    version: int
    """1 or 2."""
    mounts: dict[str, str]
    """Controller to its mount point; on v2 the one key ``unified``, which a hybrid host has too:
    the runtime makes a folder there as well."""
    controllers: frozenset[str]
    """Controllers that can be used, by their v1 or v2 names."""


_cached: Layout | None = None


def detect() -> Layout:
    """The host's layout; read once per process."""
    global _cached
    if _cached is None:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            _cached = read(ROOT, file.read())
    return _cached


def forget() -> None:
    """Look again when asked next."""
    global _cached
    _cached = None


def read(root: str, mountinfo: str) -> Layout:
    """The layout of the hierarchies at ``root``; ``mountinfo`` tells of v1's mounts."""
    try:
        with open(f"{root}/cgroup.controllers", encoding="ascii") as file:
            return Layout(2, {UNIFIED: root}, frozenset(file.read().split()))
    except FileNotFoundError:
        return _read_v1(mountinfo)


def _read_v1(mountinfo: str) -> Layout:
    found: dict[str, str] = {}
    # A few of the lines of a host whose containers have some each.
    lines = [line for line in mountinfo.split("\n") if " - cgroup" in line]
    for entry in mount.parse_mountinfo("\n".join(lines)):
        if entry.fstype == "cgroup2":
            found.setdefault(UNIFIED, entry.target)
        if entry.fstype != "cgroup":
            continue
        for word in entry.super_options.split(","):
            name = word.removeprefix("name=")
            if word not in _NOT_CONTROLLERS and "=" not in name:
                found.setdefault(name, entry.target)
    return Layout(1, found, frozenset(found) - {UNIFIED})


# Mount options of a v1 hierarchy that are no controllers (cgroups(7)).
_NOT_CONTROLLERS = frozenset({"rw", "ro", "xattr", "none", "noprefix", "clone_children", "all"})


def container_path(
    parent: str, default_parent: str, container_id: str, driver: str = CGROUPFS
) -> str:
    """The container's cgroup as the runtime wants it, in the first parent that is not empty.

    ``/<parent>/<id>``, never above the root; of systemd's driver ``<slice>:runengine:<id>``.
    Raises InvalidParameter for a parent that no file system can hold, or that is no slice.
    """
    chosen = parent or default_parent or DEFAULT_PARENTS[driver]
    if driver == SYSTEMD:
        return slices.container_path(chosen, container_id)
    parts = chosen.split("/")
    if {"\0", "\n"} & set(chosen) or any(len(part.encode()) > 255 for part in parts):
        raise InvalidParameter(f"invalid --cgroup-parent {chosen!r}")
    # Cleaning an absolute path swallows every leading "..".
    return posixpath.normpath(posixpath.join("/", chosen.lstrip("/"), container_id))


def cgroup_dirs(cgroups_path: str, layout: Layout | None = None) -> dict[str, str]:
    """Controller to the absolute folder of ``cgroups_path``; ``unified`` alone is v2."""
    hierarchies = (layout or detect()).mounts
    inner = cgroups_path if cgroups_path.startswith("/") else slices.directory(cgroups_path)
    return {name: f"{target}/{inner.lstrip('/')}" for name, target in hierarchies.items()}


def procs(dirs: dict[str, str]) -> list[int]:
    """Pids in the cgroup and in those the container made below it, in ascending order."""
    for name in (UNIFIED, "pids", "devices", "memory", "freezer"):
        if name in dirs and os.path.isdir(dirs[name]):
            return sorted(_procs_below(dirs[name]))
    return []


def _procs_below(directory: str) -> set[int]:
    found: set[int] = set()
    for folder, _, _ in os.walk(directory):
        try:
            with open(f"{folder}/cgroup.procs", encoding="ascii") as file:
                found.update(int(line) for line in file)
        except OSError:
            continue  # removed meanwhile, or threaded
    return found


def remove(dirs: dict[str, str], *, attempts: int = 5) -> list[str]:
    """Remove the cgroup in every hierarchy, children first; what is left (still in use)."""
    left = []
    for directory in dict.fromkeys(dirs.values()):
        for attempt in range(attempts):
            if _remove_tree(directory):
                break
            # A killed process leaves its cgroup a moment after its parent has seen it end.
            time.sleep(0.002 * 2**attempt)
        else:
            left.append(directory)
    return left


def _remove_tree(directory: str) -> bool:
    for folder, _, _ in os.walk(directory, topdown=False):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return not os.path.isdir(directory)
