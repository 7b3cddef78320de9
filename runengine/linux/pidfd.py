"""Processes by identity: pid and start time, then a descriptor that cannot be reused."""

from __future__ import annotations

import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # without the enumerations around it

MAX_POLL_MS = (1 << 31) - 1
"""The longest that poll(2) sleeps at a time, some 24 days."""
_THREADS = 17
"""Place of num_threads among the fields from the third on (proc_pid_stat(5))."""


def start_time(pid: int) -> int | None:
    """Start time in clock ticks since boot (proc_pid_stat(5), field 22); None if it is gone.

    A zombie counts as gone: it runs nothing any more, unless only its first thread has ended.
    """
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def parent(pid: int) -> int | None:
    """The pid of its parent; None if it is gone."""
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def is_stopped(pid: int) -> bool:
    """Whether it runs no more until SIGCONT comes or its tracer lets it (proc_pid_stat(5))."""
    fields = _stat(pid)
    return bool(fields) and fields[0] in (b"T", b"t")


def _stat(pid: int) -> list[bytes]:
    """The fields from the third on (proc_pid_stat(5)); none if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    is_gone = fields[0] == b"X" or (fields[0] == b"Z" and int(fields[_THREADS]) <= 1)
    return [] if is_gone else fields


def is_alive(pid: int, started: int) -> bool:
    """Whether ``pid`` still is the process that began at ``started`` ticks."""
    return pid > 0 and start_time(pid) == started


def open_verified(pid: int, started: int) -> int | None:
    """A pidfd (pidfd_open(2)) for exactly this process, or None if it is gone."""
    try:
        fd = os.pidfd_open(pid)
    except (ProcessLookupError, OSError):
        return None
    if start_time(pid) != started:
        os.close(fd)
        return None
    return fd


def send(fd: int, number: int) -> bool:
    """Send a signal through a pidfd; False if the process has gone."""
    try:
        _signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    return True


def wait(fd: int, timeout_s: float | None = None) -> bool:
    """Wait until the pidfd's process has ended; False after ``timeout_s``."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    left_ms = None if timeout_s is None else max(0, int(timeout_s * 1000))
    while left_ms is not None and left_ms > MAX_POLL_MS:
        if poll.poll(MAX_POLL_MS):
            return True
        left_ms -= MAX_POLL_MS
    return bool(poll.poll(left_ms))
