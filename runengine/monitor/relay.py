"""Between a container's output and a log that may be slow: a bounded buffer, and a thread.

A log in plain files needs none of it: the page cache takes what there is. With the mode
``non-blocking``, or where another program takes the log (journald), the thread waits in its place.
When the buffer is full output is either dropped, which is counted and told in the log, or the
container's output is read no further, so that the container waits. The monitor itself never does.
"""

from __future__ import annotations

import _thread
import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Protocol

    class Writer(Protocol):
        """What writes the log. It never raises OSError."""

        def write(self, stream: str, data: bytes) -> None:
            """Log a chunk."""

        def missed(self, count: int, why: str) -> None:
            """Say that as many bytes are missing."""

        def close(self) -> None:
            """Flush and close."""
else:
    import _signal as signal

LAST_WORDS_BYTES = 8 << 20
"""Beyond the buffer, for what a container has written that was stopped from writing more."""
CLOSE_TIMEOUT_S = 5.0
WHY = "the log is slower than the output"
_GAP = ""


class Relay:
    """A log to a session; for a log's writer the only one who calls it."""

    def __init__(self, writer: Writer, limit_bytes: int, *, drops: bool) -> None:
        self.full = False
        """Whether the container's output is to be read no further."""
        self._room_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.room_fd: int | None = self._room_fd
        """Readable when there is room again."""
        self._writer = writer
        self._limit = limit_bytes
        self._drops = drops
        self._lock = _thread.allocate_lock()
        self._queue: list[tuple[str, bytes, int]] = []
        self._waiting = 0
        self._dropped = 0
        self._closing = False
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC)
        self._done = _thread.allocate_lock()
        self._done.acquire()
        _thread.start_new_thread(self._work, ())

    def write(self, stream: str, data: bytes) -> None:
        """Take a chunk, or drop it; returns at once."""
        with self._lock:
            limit = self._limit + (0 if self._drops else LAST_WORDS_BYTES)
            if self._waiting and self._waiting + len(data) > limit:
                self._dropped += len(data)
            else:
                if self._dropped:
                    self._queue.append((_GAP, b"", self._dropped))
                    self._dropped = 0
                self._queue.append((stream, data, len(data)))
                self._waiting += len(data)
            self.full = not self._drops and self._waiting > self._limit
        os.eventfd_write(self._wake_fd, 1)

    def close(self) -> None:
        """Have the rest written. Raises TimeoutError if the log does not take it in time."""
        self._closing = True
        os.eventfd_write(self._wake_fd, 1)
        if not self._done.acquire(timeout=CLOSE_TIMEOUT_S):
            text = f"the log did not take the last {self._waiting} bytes of output"
            raise TimeoutError(errno.ETIMEDOUT, text)
        for fd in (self._wake_fd, self._room_fd):
            os.close(fd)

    # In the thread

    def _work(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        closing = False
        while not closing:
            os.eventfd_read(self._wake_fd)
            closing = self._closing
            while self._turn():
                pass
        self._attempt(self._writer.close)
        self._done.release()

    def _turn(self) -> bool:
        """Write what has come; False if that was nothing."""
        with self._lock:
            batch, self._queue = self._queue, []
            if not batch and self._dropped:
                batch.append((_GAP, b"", self._dropped))
                self._dropped = 0
        for stream, data, count in batch:
            if stream == _GAP:
                self._attempt(lambda: self._writer.missed(count, WHY))  # noqa: B023
                continue
            self._attempt(lambda: self._writer.write(stream, data))  # noqa: B023
            self._make_room(count)
        return bool(batch)

    def _make_room(self, count: int) -> None:
        with self._lock:
            self._waiting -= count
            if not self.full or self._waiting > self._limit // 2:
                return
            self.full = False
        os.eventfd_write(self._room_fd, 1)

    def _attempt(self, action: Callable[[], None]) -> None:
        """A writer's bug must not stop the container for ever."""
        try:
            action()
        except Exception:  # noqa: BLE001 - there is nobody to be told in this thread
            return
