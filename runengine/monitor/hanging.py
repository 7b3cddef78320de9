"""A runtime that takes long: whether it can ever end. The monitor loads this only then."""

from __future__ import annotations

import os
import time

from runengine.linux import fsatomic
from runengine.monitor.loop import UNSTARTED, process_name, stat_fields
from runengine.runtime.messages import FAILED, Failure

LIMIT_S = 100.0
"""Hooks and slow disks may take their time; less than a client waits for the answer."""
_THREADS = 17
"""Place of num_threads among the fields from the third on (proc_pid_stat(5))."""
_STOPPED = b"T"
_ZOMBIE = b"Z"


class Look:
    """Looks at one runtime and what it has started; what is so twice stays so."""

    def __init__(self, pid: int, began: float) -> None:
        self._pid = pid
        self._began = began
        self._last: Failure | None = None

    def __call__(self) -> Failure | None:
        """Why the runtime has to be killed, or None."""
        if time.monotonic() - self._began > LIMIT_S:
            return self._too_long()
        last, self._last = self._last, self._stuck()
        return self._last if last and self._last and last.brief == self._last.brief else None

    def _stuck(self) -> Failure | None:
        for pid in (self._pid, *children(self._pid)):
            name, fields = stat_fields(pid)
            if not fields:
                continue
            if fields[0] == _STOPPED:
                return Failure(FAILED, f"somebody has stopped the runtime: {name} (pid {pid})")
            if is_beheaded(name, fields):
                return beheaded()
        return None

    def _too_long(self) -> Failure:
        works = [f"{process_name(pid)} (pid {pid})" for pid in children(self._pid)]
        return Failure(
            FAILED,
            f"the runtime has not finished within {LIMIT_S:g} s",
            f"it waited for {', '.join(works)}" if works else "see whether it works by itself",
        )


def is_beheaded(name: str, fields: list[bytes]) -> bool:
    """Whether an init lost its first thread, which is to become the program: a filter may do so.

    ``name`` and ``fields`` are of proc_pid_stat(5).
    """
    return name == UNSTARTED and fields[0] == _ZOMBIE and int(fields[_THREADS]) > 1


def beheaded() -> Failure:
    """What to say of such an init; it waits for ever."""
    return Failure(
        FAILED,
        "the seccomp profile killed a thread of the container's init before the program began",
    )


def children(pid: int) -> list[int]:
    """Of all its threads."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            text = fsatomic.read_optional(f"/proc/{pid}/task/{thread}/children") or b""
            found += map(int, text.split())
    except OSError:
        return found  # it has just ended
    return found
