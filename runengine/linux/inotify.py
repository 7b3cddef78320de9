"""Waiting for changes in a directory (inotify(7))."""

from __future__ import annotations

import ctypes
import os
import select

IN_MODIFY = 0x002
IN_MOVED_TO = 0x080
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_NONBLOCK = os.O_NONBLOCK
IN_CLOEXEC = os.O_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True)


class DirectoryWatch:
    """Wakes up when a file in a directory is written, made or moved there, or as ``events`` say.

    Raises OSError where there is no such directory, or where the host's inotify instances
    (fs.inotify.max_user_instances) are used up.
    """

    def __init__(self, path: str, events: int = IN_MODIFY | IN_MOVED_TO | IN_CREATE) -> None:
        self._fd = _checked("inotify_init1", _libc.inotify_init1(IN_NONBLOCK | IN_CLOEXEC))
        try:
            mask = ctypes.c_uint32(events)
            added = _libc.inotify_add_watch(self._fd, os.fsencode(path), mask)
            _checked("inotify_add_watch", added, path)
        except OSError:
            os.close(self._fd)
            raise
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def wait(self, timeout_s: float) -> bool:
        """Wait for a change; False after ``timeout_s``. Changes since the last call count."""
        if not self._poll.poll(timeout_s * 1000):
            return False
        self.drain()
        return True

    def fileno(self) -> int:
        """Readable when there was a change."""
        return self._fd

    def drain(self) -> None:
        """Forget the changes up to now."""
        try:
            while os.read(self._fd, 65536):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Stop watching."""
        os.close(self._fd)


def _checked(name: str, result: int, path: str | None = None) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}", path)
    return result
