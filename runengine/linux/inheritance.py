"""What a process hands to its children, taken over from another process than the parent.

Whoever is forked by the service acts for a caller, and has to the kernel the service's limits,
niceness, CPUs, groups and OOM score. The monitor loads this module, so it stays small.

Sources: proc_pid_status(5), prlimit(2), proc_pid_oom_score_adj(5).
"""

from __future__ import annotations

import os
import resource

_LIMITS = range(16)
"""Every resource limit that Linux has (getrlimit(2), RLIM_NLIMITS)."""
_OOM_PATH = "/proc/%s/oom_score_adj"


def read_status(who: int | str) -> bytes:
    """The text of /proc/PID/status. Raises OSError if there is no such process."""
    fd = os.open(f"/proc/{who}/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 1 << 16)
    finally:
        os.close(fd)


def field(status: bytes, name: bytes) -> bytes:
    """A field's text; empty where this kernel has none."""
    _, found, rest = status.partition(b"\n" + name + b":")
    return rest.partition(b"\n")[0].strip() if found else b""


def adopt(pid: int, status: bytes) -> None:
    """Take over from process ``pid``, whose status is given, what a child would inherit.

    Raises OSError or ValueError if something cannot be had (raising a limit without the
    capability), ProcessLookupError if it is gone.
    """
    os.umask(int(field(status, b"Umask") or b"22", 8))
    _take_groups(status)
    _take_limits(pid)
    niceness = os.getpriority(os.PRIO_PROCESS, pid)
    if niceness != os.getpriority(os.PRIO_PROCESS, 0):
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
    cpus = os.sched_getaffinity(pid)
    if cpus != os.sched_getaffinity(0):
        os.sched_setaffinity(0, cpus)
    _take_oom_score(pid)


def _numbers(status: bytes, name: bytes) -> list[int]:
    return [int(word) for word in field(status, name).split()]


def _take_groups(status: bytes) -> None:
    group, supplementary = _numbers(status, b"Gid")[:3], _numbers(status, b"Groups")
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
    wanted = os.open(_OOM_PATH % pid, os.O_RDONLY | os.O_CLOEXEC)
    try:
        own = os.open(_OOM_PATH % "self", os.O_RDWR | os.O_CLOEXEC)
        try:
            score = os.read(wanted, 16)
            if os.read(own, 16) != score:
                os.write(own, score)
        finally:
            os.close(own)
    finally:
        os.close(wanted)
