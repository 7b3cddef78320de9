"""What a process is to the kernel: the world it lives in, and what it hands to its children.

A warm call must act where its caller is. Where the caller lives in another world than the launcher
(namespaces, root directory, privileges), the call is made cold. What a process inherits from its
parent besides (limits, niceness, CPUs, groups, OOM score) the worker takes from the caller.

Sources: proc_pid_status(5), namespaces(7), capabilities(7), proc_pid_oom_score_adj(5).
"""

from __future__ import annotations

import os
import resource
from typing import NamedTuple

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_PRIVILEGES = (b"CapInh", b"CapPrm", b"CapEff", b"CapBnd", b"CapAmb", b"NoNewPrivs", b"Seccomp")
_LIMITS = range(16)
"""Every resource limit that Linux has (getrlimit(2), RLIM_NLIMITS)."""


class World(NamedTuple):
    """Where a process is and what it may do; equal worlds make equal calls."""

    namespaces: tuple[str, ...]
    root: tuple[int, int]
    privileges: tuple[bytes, ...]
    label: bytes


class Status:
    """The fields of /proc/PID/status. Raises OSError if there is no such process."""

    def __init__(self, who: int | str) -> None:
        with open(f"/proc/{who}/status", "rb", 0) as file:
            lines = file.read().splitlines()
        self._fields = dict(line.split(b":", 1) for line in lines if b":" in line)

    def field(self, name: bytes) -> bytes:
        """A field's text; empty where this kernel has none."""
        return self._fields.get(name, b"").strip()

    def numbers(self, name: bytes) -> list[int]:
        """A field of decimal numbers."""
        return [int(word) for word in self.field(name).split()]


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


def adopt(pid: int, status: Status) -> None:
    """Take over from process ``pid`` what a child would inherit.

    Raises OSError or ValueError if something cannot be had (raising a limit without the
    capability), ProcessLookupError if it is gone.
    """
    os.umask(int(status.field(b"Umask") or b"22", 8))
    _take_groups(status)
    _take_limits(pid)
    niceness = os.getpriority(os.PRIO_PROCESS, pid)
    if niceness != os.getpriority(os.PRIO_PROCESS, 0):
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
    cpus = os.sched_getaffinity(pid)
    if cpus != os.sched_getaffinity(0):
        os.sched_setaffinity(0, cpus)
    _take_oom_score(pid)


def _take_groups(status: Status) -> None:
    group, supplementary = status.numbers(b"Gid")[:3], status.numbers(b"Groups")
    if supplementary != os.getgroups():
        os.setgroups(supplementary)
    if group != list(os.getresgid()):
        os.setresgid(*group)


def _take_limits(pid: int) -> None:
    for number in _LIMITS:
        wanted = resource.prlimit(pid, number)
        if wanted != resource.getrlimit(number):
            resource.setrlimit(number, wanted)


def _take_oom_score(pid: int) -> None:
    path = "/proc/{}/oom_score_adj"
    with open(path.format(pid), "rb", 0) as file:
        wanted = file.read()
    with open(path.format("self"), "r+b", 0) as own:
        if own.read() != wanted:
            own.write(wanted)
