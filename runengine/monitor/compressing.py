"""Compresses a log's older files, in a thread beside the log's writing.

A follower that reads a file still has it open when its name goes: the compressed one says in its
header (an extra field, RFC 1952) which file it was, so that it finds what comes next.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from runengine.monitor.rotation import MODE, SUFFIX, UNFINISHED, is_there, remove

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _thread
    import signal
else:
    import _signal as signal

FIELD = b"RE"
IDENTITY_BYTES = 8
_CHUNK_BYTES = 1 << 18
_CLOSE_TIMEOUT_S = 1.0
_DEFLATE, _WITH_EXTRA, _UNIX = 8, 4, 3


class Compressor:
    """Compresses the older files of one log. ``lock`` is held while files are renamed."""

    def __init__(self, path: str) -> None:
        import _thread

        self.lock: _thread.LockType = _thread.allocate_lock()
        self._path = path
        self._busy = _thread.allocate_lock()
        self._again = self._closing = False

    def begin(self) -> None:
        """See to all that are plain; returns at once."""
        import _thread

        self._again = True
        if self._busy.acquire(blocking=False):
            try:
                _thread.start_new_thread(self._work, ())
            except RuntimeError:  # no thread to be had: they stay plain
                self._busy.release()

    def close(self) -> None:
        """Leave off; what is not finished stays plain."""
        self._closing = True
        if self._busy.acquire(timeout=_CLOSE_TIMEOUT_S):
            self._busy.release()

    def _work(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            while self._again and not self._closing:
                self._again = False
                with suppress(OSError):  # a full disk
                    self._all()
                remove(self._path + UNFINISHED)
        finally:
            self._busy.release()

    def _all(self) -> None:
        number = 1
        while is_there(self._path, number) and not self._closing:
            with suppress(FileNotFoundError):  # compressed already, or renamed just now
                self._one(os.open(f"{self._path}.{number}", os.O_RDONLY | os.O_CLOEXEC))
            number += 1

    def _one(self, fd: int) -> None:
        """Compress an open file, and give the result the name that this has by then."""
        try:
            found = os.fstat(fd)
            identity = (found.st_dev, found.st_ino)
            if not self._compress(fd, identity):
                return
        finally:
            os.close(fd)
        with self.lock:
            name = self._name_of(identity)
            if name:
                os.rename(self._path + UNFINISHED, name + SUFFIX)
                os.unlink(name)

    def _name_of(self, identity: tuple[int, int]) -> str:
        number = 1
        while is_there(self._path, number):
            name = f"{self._path}.{number}"
            with suppress(FileNotFoundError):
                found = os.stat(name)
                if (found.st_dev, found.st_ino) == identity:
                    return name
            number += 1
        return ""  # it has fallen off the end

    def _compress(self, source: int, identity: tuple[int, int]) -> bool:
        """Write the compressed file; False if the log is closed meanwhile."""
        import zlib

        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with open(os.open(self._path + UNFINISHED, flags, MODE), "wb") as target:
            target.write(_header(identity))
            packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            check = size = 0
            while data := os.read(source, _CHUNK_BYTES):
                check, size = zlib.crc32(data, check), size + len(data)
                target.write(packer.compress(data))
                if self._closing:
                    return False
            target.write(packer.flush())
            target.write(check.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little"))
        return True


def _header(identity: tuple[int, int]) -> bytes:
    """Of a gzip member, with the device and inode that the file had."""
    extra = b"".join(number.to_bytes(IDENTITY_BYTES, sys.byteorder) for number in identity)
    field = FIELD + len(extra).to_bytes(2, "little") + extra
    fixed = bytes((0x1F, 0x8B, _DEFLATE, _WITH_EXTRA, 0, 0, 0, 0, 0, _UNIX))
    return fixed + len(field).to_bytes(2, "little") + field
