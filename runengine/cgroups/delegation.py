"""A cgroup of v2 that is given to whoever divides it further (cgroups(7), "Delegation").

runc does that by itself only where systemd makes the cgroups.
"""

from __future__ import annotations

import contextlib
import os

LIST = "/sys/kernel/cgroup/delegate"
"""The kernel's own list of the files that go with it (Linux 4.15)."""
FILES = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")


def give(directory: str, uid: int, gid: int, *, listed: str = LIST) -> None:
    """Make them the owner of what divides the cgroup, not of its limits; it is made if missing."""
    os.makedirs(directory, exist_ok=True)
    os.chown(directory, uid, gid)
    for name in _files(listed):
        # Those of controllers come when these are turned on.
        with contextlib.suppress(FileNotFoundError):
            os.chown(f"{directory}/{name}", uid, gid)


def _files(listed: str) -> list[str]:
    try:
        with open(listed, encoding="ascii") as file:
            return file.read().split()
    except FileNotFoundError:
        return list(FILES)
