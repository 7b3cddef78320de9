"""What a process hands to its children, taken over from another process than the parent.

Whoever is forked by the service acts for a caller, and has to the kernel the service's limits,
niceness, CPUs, groups and OOM score. The monitor loads this module, so it stays small.

Sources: proc_pid_status(5), prlimit(2), proc_pid_oom_score_adj(5).
"""

from __future__ import annotations

import errno
import os
import resource

from runengine.linux.fsatomic import read_optional

_LIMITS = range(16)
"""Every resource limit that Linux has (getrlimit(2), RLIM_NLIMITS)."""


def read_status(who: int | str) -> bytes:
    """The text of /proc/PID/status. Raises OSError if there is no such process."""
    return _read(who, "status")


def _read(who: int | str, name: str) -> bytes:
    text = read_optional(f"/proc/{who}/{name}")
    if text is None:
        raise ProcessLookupError(errno.ESRCH, f"there is no process {who}")
    return text


def field(status: bytes, name: bytes) -> bytes:
    """A field's text; empty where this kernel has none."""
    _, found, rest = status.partition(b"\n" + name + b":")
    return rest.partition(b"\n")[0].strip() if found else b""


def adopt(pid: int, status: bytes) -> None:
    """Take over from process ``pid``, whose status is given, what a child would inherit.

    Raises OSError or ValueError if something cannot be had (raising a limit without the
    capability), ProcessLookupError if it is gone.
    """
    own = read_status("self")
    os.umask(int(field(status, b"Umask") or b"22", 8))
    _take_groups(status, own)
    # Most often all is the same already, and to compare texts is the least to do.
    if _read(pid, "limits") != _read("self", "limits"):
        _take_limits(pid)
    niceness = os.getpriority(os.PRIO_PROCESS, pid)
    if niceness != os.getpriority(os.PRIO_PROCESS, 0):
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
    if field(status, b"Cpus_allowed") != field(own, b"Cpus_allowed"):
        os.sched_setaffinity(0, os.sched_getaffinity(pid))
    score = _read(pid, "oom_score_adj")
    if score != _read("self", "oom_score_adj"):
        _write_oom_score(score)


def _take_groups(status: bytes, own: bytes) -> None:
    supplementary, group = field(status, b"Groups"), field(status, b"Gid")
    if supplementary != field(own, b"Groups"):
        os.setgroups([int(word) for word in supplementary.split()])
    if group != field(own, b"Gid"):
        real, effective, saved, _ = map(int, group.split())
        os.setresgid(real, effective, saved)


def _take_limits(pid: int) -> None:
    for number in _LIMITS:
        wanted = resource.prlimit(pid, number)
        if wanted != resource.getrlimit(number):
            resource.setrlimit(number, wanted)


def _write_oom_score(score: bytes) -> None:
    fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, score)
    finally:
        os.close(fd)
