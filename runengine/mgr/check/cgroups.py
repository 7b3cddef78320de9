"""Control groups of containers that are gone.

All engines of a host share the folders that containers' groups are in. A group is ours if its
name is the id of a container that our journal of events knows.
"""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from runengine.errors import Unavailable
from runengine.linux import pidfd
from runengine.mgr.check.world import Difference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runengine.mgr.check.world import World

_ID = re.compile(r"[0-9a-f]{64}")


def orphans(world: World) -> Iterator[Difference]:
    """Groups of containers that this engine had and has no more."""
    found = {
        name: directories
        for name, directories in groups(world).items()
        if name not in world.ids and not world.is_held(name)
    }
    ours = known_to_journal(world.paths.journal, found.keys()) if found else set()
    for name in sorted(ours):
        pids = sorted({pid for path in found[name] for pid in _pids(path)})
        yield Difference(
            "cgroup",
            name[:12],
            "the control group of a container that is gone"
            + (f", with processes {', '.join(map(str, pids))}" if pids else ""),
            "kill what is in it, and remove it" if pids else "remove it",
            partial(_remove, found[name]),
        )


def groups(world: World) -> dict[str, list[str]]:
    """Folders whose name is a container's id, by it, where containers' groups are made."""
    from runengine.cgroups import layout

    parent = world.context.config.cgroup_parent or layout.DEFAULT_PARENTS[layout.CGROUPFS]
    found: dict[str, list[str]] = {}
    for mounted in dict.fromkeys(layout.detect().mounts.values()):
        folder = f"{mounted}/{parent.strip('/')}"
        with suppress(OSError):
            for name in os.listdir(folder):
                if _ID.fullmatch(name):
                    found.setdefault(name, []).append(f"{folder}/{name}")
    return found


def known_to_journal(path: str, ids: Iterable[str]) -> set[str]:
    """Those of the ids that events of this engine's containers tell of."""
    wanted = set(ids)
    known: set[str] = set()
    folder, base = os.path.split(path)
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if not name.startswith(base):
            continue
        with open(f"{folder}/{name}", "rb") as file:
            for line in file:
                known.update(one for one in wanted - known if one.encode() in line)
    return known


def _pids(directory: str) -> list[int]:
    from runengine.cgroups import layout

    return layout.procs({layout.UNIFIED: directory})


def _remove(directories: list[str]) -> None:
    from runengine.cgroups import layout

    for directory in directories:
        for pid in _pids(directory):
            _kill(pid)
    left = layout.remove({path: path for path in directories}, attempts=9)
    if left:
        raise Unavailable(f"cannot remove control group {left[0]}: it is in use")


def _kill(pid: int) -> None:
    start_time = pidfd.start_time(pid)
    fd = pidfd.open_verified(pid, start_time) if start_time is not None else None
    if fd is not None:
        try:
            pidfd.send(fd, signal.SIGKILL)
        finally:
            os.close(fd)


CHECKS = (orphans,)
