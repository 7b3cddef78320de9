"""An open file, pipe or socket as the place where an archive goes, by few large calls."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from runengine.linux.fsatomic import write_all

if TYPE_CHECKING:
    from collections.abc import Callable

    Copy = Callable[[int, int, int], int]
    """Copies from one descriptor to another up to so many bytes, says how many."""

BUFFER_BYTES = 1 << 20
COPY_BYTES = 1 << 30
ZEROS = bytes(1 << 16)
_CANNOT = frozenset({errno.EINVAL, errno.ENOSYS, errno.EXDEV, errno.EOPNOTSUPP, errno.EBADF})
"""What the kernel says of descriptors between which it cannot copy by itself."""


class FileSink:
    """Collects what is small, and lets the kernel copy what is in files. ``flush`` at the end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._pieces: list[bytes] = []
        self._pending = 0
        self._copy = _ways(fd)

    def write(self, data: bytes) -> None:
        """Take these bytes. Raises OSError."""
        self._pieces.append(data)
        self._pending += len(data)
        if self._pending >= BUFFER_BYTES:
            self.flush()

    def copy(self, fd: int, size: int) -> None:
        """Take ``size`` bytes of a file from where it stands, zeros for what it does not have."""
        self.flush()
        while size:
            done = self._copy_some(fd, min(size, COPY_BYTES))
            if not done:
                break
            size -= done
        while size:
            write_all(self._fd, ZEROS[:size])
            size -= min(size, len(ZEROS))

    def flush(self) -> None:
        """Write out what was collected."""
        data, self._pieces, self._pending = b"".join(self._pieces), [], 0
        write_all(self._fd, data)

    def _copy_some(self, fd: int, size: int) -> int:
        while True:
            try:
                return self._copy[0](fd, self._fd, size)
            except OSError as error:
                if error.errno not in _CANNOT or len(self._copy) == 1:
                    raise
                del self._copy[0]


def _ways(fd: int) -> list[Copy]:
    """How to copy to this file, the best way first."""
    ways: list[Copy] = [_send, _read_and_write]
    if stat.S_ISREG(os.fstat(fd).st_mode):
        ways.insert(0, os.copy_file_range)
    return ways


def _send(source: int, target: int, size: int) -> int:
    return os.sendfile(target, source, None, size)


def _read_and_write(source: int, target: int, size: int) -> int:
    data = os.read(source, min(size, BUFFER_BYTES))
    write_all(target, data)
    return len(data)
