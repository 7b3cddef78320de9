"""Small files are filled in a thread, while the reader goes on to the next member.

Half of what a small file costs the kernel is to create it, half to write it, set its attributes
and close it. Both release the interpreter's lock, so they overlap. Files are created in the order
of the archive and handed over open, so that nobody has to look names up: one that a later member
replaces is filled all the same, and goes.
"""

from __future__ import annotations

import os
import threading
from queue import Queue
from typing import TYPE_CHECKING, NamedTuple

from runengine.linux.fsatomic import write_all
from runengine.rootfs import attributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.rootfs.tarheader import Member
    from runengine.rootfs.usage import Count

BATCH = 16
"""Files that are handed over at once: waking a thread for each would cost what it gains."""
_AHEAD = 1
"""Batches that wait; with those that are gathered and filled 48 files may be open."""


class _File(NamedTuple):
    """A new file, and what is to be in it."""

    fd: int
    data: bytes
    member: Member


class Filler:
    """Fills files; ``finish`` when all were given, and ``close`` in any case."""

    def __init__(self, explain: Callable[[OSError, str], Exception], count: Count) -> None:
        """``explain`` makes the error of what the kernel refuses, which the next call raises.

        ``count`` is for its files, and nobody else's until ``finish``.
        """
        self._explain = explain
        self._count = count
        self._batch: list[_File] = []
        self._given: Queue[list[_File]] = Queue(_AHEAD)
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None

    def give(self, fd: int, data: bytes, member: Member) -> None:
        """Hand over a new file with its content. Raises what has become of earlier ones."""
        self._batch.append(_File(fd, data, member))
        if len(self._batch) == BATCH:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="fill", daemon=True)
                self._thread.start()
            batch, self._batch = self._batch, []
            self._given.put(batch)
            self._check()

    def finish(self) -> None:
        """Wait until every file is filled. Raises what has become of one."""
        self._end()
        batch, self._batch = self._batch, []
        self._fill(batch)
        self._check()

    def close(self) -> None:
        """Let go of what was given and is not filled."""
        self._end()
        for file in self._batch:
            os.close(file.fd)
        self._batch = []

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _end(self) -> None:
        if self._thread is not None:
            self._given.put([])
            self._thread.join()
            self._thread = None

    def _serve(self) -> None:
        """Thread: fill batches until there is an empty one."""
        while batch := self._given.get():
            self._fill(batch)

    def _fill(self, batch: list[_File]) -> None:
        """Fill files; after a failure they are only closed."""
        for fd, data, member in batch:
            try:
                try:
                    if self._failure is None:
                        write_all(fd, data)
                        self._count.add(attributes.apply_fd(fd, member))
                finally:
                    os.close(fd)
            except OSError as error:
                self._failure = self._explain(error, f"the layer's member {member.name!r}")
            except Exception as error:  # noqa: BLE001 (raised again by the next call)
                self._failure = error
