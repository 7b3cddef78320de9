"""Writes files out while more of them are being made, so that the last sync has little to do.

Left alone the kernel begins to write only after seconds, or after gigabytes: a layer would be
unpacked to memory first, and then everybody would wait for the disk.
"""

from __future__ import annotations

import threading

from runengine.linux import libc

STEP_BYTES = 1 << 26
"""Unpacked between two attempts: less, and small layers would pay for it."""


class EarlySync:
    """syncfs(2) in a thread, again and again. ``close`` must be called.

    It has to be the filesystem that is synced, not each file: a flush for every file costs more
    than all the rest.
    """

    def __init__(self, fd: int) -> None:
        """``fd`` is anything on the filesystem, and stays the caller's."""
        self._fd = fd
        self._next = STEP_BYTES
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None

    def advance(self, position: int) -> None:
        """So many bytes have been written in all; begins to sync if that is enough."""
        if position < self._next or (self._thread is not None and self._thread.is_alive()):
            return
        self._next = position + STEP_BYTES
        self._thread = threading.Thread(target=self._sync, name="sync", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait for a sync that is under way."""
        if self._thread is not None:
            self._thread.join()

    def check(self) -> None:
        """Raise what a sync has failed with: the kernel tells each failure once only."""
        self.close()
        if self._failure is not None:
            raise self._failure

    def _sync(self) -> None:
        try:
            libc.syncfs(self._fd)
        except OSError as error:
            self._failure = error
