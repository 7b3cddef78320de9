"""A log's older files: ``.1`` is the newest, then ``.2``; compressed ones end in ``.gz``.

Compression is work for a thread, beside the log's writing. A follower that reads a file still has
it open when its name goes: the compressed one says in its header (an extra field, RFC 1952) which
file it was, so that it finds what comes next.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _thread
    import signal
else:
    import _signal as signal

SUFFIX = ".gz"
UNFINISHED = ".gz.tmp"
MODE = 0o640
FIELD = b"RE"
IDENTITY_BYTES = 8
_CHUNK_BYTES = 1 << 18
_CLOSE_TIMEOUT_S = 1.0
_DEFLATE, _WITH_EXTRA, _UNIX = 8, 4, 3


def shift(path: str, max_file: int) -> None:
    """Give each older file the next number, and the current one the first. Raises OSError."""
    free = 1
    while free < max_file - 1 and _is_there(path, free):
        free += 1
    for number in range(free, 1, -1):
        _move(f"{path}.{number - 1}", f"{path}.{number}")
    with suppress(FileNotFoundError):  # somebody else has removed it
        if max_file == 1:
            os.unlink(path)
        else:
            os.rename(path, f"{path}.1")
            _remove(f"{path}.1{SUFFIX}")


def _is_there(path: str, number: int) -> bool:
    return any(os.path.exists(f"{path}.{number}{form}") for form in ("", SUFFIX))


def _move(source: str, target: str) -> None:
    """In whichever form it is; readers look for the plain one first, so that never is an old one.

    Both are there where a compression was cut short at its end.
    """
    if os.path.exists(source) or not os.path.exists(source + SUFFIX):
        os.rename(source, target)
        _remove(target + SUFFIX)
        _remove(source + SUFFIX)
    else:
        _remove(target)
        os.rename(source + SUFFIX, target + SUFFIX)


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


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
                _remove(self._path + UNFINISHED)
        finally:
            self._busy.release()

    def _all(self) -> None:
        number = 1
        while _is_there(self._path, number) and not self._closing:
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
        while _is_there(self._path, number):
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
