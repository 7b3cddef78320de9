"""What a process is to the kernel: the world it lives in.

A warm call must act where its caller is. Where the caller lives in another world than the launcher
(namespaces, root directory, privileges), the call is made cold. What a process inherits from its
parent besides, the worker takes from the caller (``linux/inheritance.py``).

Sources: proc_pid_status(5), namespaces(7), capabilities(7).
"""

from __future__ import annotations

import os
from typing import NamedTuple

from runengine.linux import inheritance

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_PRIVILEGES = (b"CapInh", b"CapPrm", b"CapEff", b"CapBnd", b"CapAmb", b"NoNewPrivs", b"Seccomp")


class World(NamedTuple):
    """Where a process is and what it may do; equal worlds make equal calls."""

    namespaces: tuple[str, ...]
    root: tuple[int, int]
    privileges: tuple[bytes, ...]
    label: bytes


class Status:
    """The fields of /proc/PID/status. Raises OSError if there is no such process."""

    def __init__(self, who: int | str) -> None:
        self.text = inheritance.read_status(who)
        self._fields = dict(line.split(b":", 1) for line in self.text.splitlines() if b":" in line)

    def field(self, name: bytes) -> bytes:
        """A field's text; empty where this kernel has none."""
        return self._fields.get(name, b"").strip()


def world_of(who: int | str, status: Status) -> World:
    """The world of a process. Raises OSError if it is gone."""
    spaces = tuple(os.readlink(f"/proc/{who}/ns/{name}") for name in NAMESPACES)
    root = os.stat(f"/proc/{who}/root")
    privileges = tuple(status.field(name) for name in _PRIVILEGES)
    return World(spaces, (root.st_dev, root.st_ino), privileges, _label(who))


def _label(who: int | str) -> bytes:
    """The security module's label: AppArmor's profile, SELinux's context."""
    try:
        with open(f"/proc/{who}/attr/current", "rb", 0) as file:
            return file.read()
    except OSError:
        return b""  # no security module
