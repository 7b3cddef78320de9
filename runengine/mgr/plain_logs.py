"""Reads the file that a container itself wrote its output to: bytes, without times or streams."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runengine.errors import Conflict, Unsupported
from runengine.mgr.log_files import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.monitor.protocol import AttachOptions

_BLOCK_BYTES = 1 << 18


def refuse(*asked: object) -> None:
    """Raise Unsupported if anything is asked for that only a log with records could tell."""
    if any(asked):
        raise Unsupported(
            "log driver 'passthrough' keeps neither times nor details",
            resolution="leave --since, --until, --timestamps and --details out",
        )


def refuse_attach(name: str, wanted: AttachOptions) -> None:
    """Raise Conflict if anything is to be seen of a container that nobody stands behind."""
    if wanted.stdout or wanted.stderr:
        raise Conflict(
            f"container {name} writes to its log itself, there is nothing to attach to",
            resolution="runengine logs -f shows it; or make it with another log driver",
        )


def read(
    path: str,
    last: int | None,
    emit: Callable[[str, bytes], None],
    ends: Callable[[], bool] | None,
) -> None:
    """Hand the file to ``emit``, its ``last`` lines or all; with ``ends`` go on until it is so.

    All of it counts as standard output. Nothing where nobody has written yet.
    """
    offset = 0
    with Waiter(os.path.dirname(path)) as waiter:
        while True:
            # First ask, then read: whatever was written before the end is then read.
            over = ends is None or ends()
            offset, last = _read(path, offset, last, emit)
            if over:
                return
            waiter.wait()


def _read(
    path: str, offset: int, last: int | None, emit: Callable[[str, bytes], None]
) -> tuple[int, int | None]:
    """Read from ``offset`` on; where it then ends, and the lines that are still to be found."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0, last
    try:
        if last is not None:
            offset = _tail(fd, last)
        elif os.fstat(fd).st_size < offset:
            offset = 0  # the container has truncated it
        while data := os.pread(fd, _BLOCK_BYTES, offset):
            offset += len(data)
            emit("stdout", data)
    finally:
        os.close(fd)
    return offset, None


def _tail(fd: int, count: int) -> int:
    """Where the last ``count`` lines begin; an unfinished one counts."""
    end = os.fstat(fd).st_size
    if not count or not end:
        return end
    # The newline that ends the last line begins none.
    begin, missing = end, count + (os.pread(fd, 1, end - 1) == b"\n")
    while begin > 0:
        start = max(0, begin - _BLOCK_BYTES)
        data = os.pread(fd, begin - start, start)
        cut = len(data)
        while missing and (cut := data.rfind(b"\n", 0, cut)) >= 0:
            missing -= 1
            if not missing:
                return start + cut + 1
        begin = start
    return 0
