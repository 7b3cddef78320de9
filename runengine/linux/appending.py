"""Lines that many processes append to one file, which is turned over when it has grown.

Every line is one write(2) with O_APPEND, which the kernel makes one piece. Writers hold the file's
lock shared (flock(2)) and look whether it still has its name; who renames it holds the lock alone.
So nothing is written to a file after it was renamed, and a reader that has read a renamed file to
its end has all of it. Readers take no lock: whatever they do, no writer waits for them.
"""

from __future__ import annotations

import fcntl
import os
import time

LOCK_ATTEMPTS = 20
LOCK_INTERVAL_S = 0.001
"""A writer that was stopped while it renamed the file must not stop the others."""
OLDER_SUFFIX = ".1"


def append_line(path: str, line: bytes, limit_bytes: int) -> None:
    """Append a line, or several that belong together; ``line`` ends with a newline.

    The directory is made if it is missing (0700). From ``limit_bytes`` on the file is renamed to
    ``path.1``, over the one before. Raises OSError; on a full disk part of the line may be left,
    which the next writer ends. One that sees a line half written ends it, too, so an empty line
    may stand between two.
    """
    fd = _open_current(path)
    try:
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            line = b"\n" + line
        os.write(fd, line)
        if size + len(line) >= limit_bytes:
            _turn_over(path, fd)
    finally:
        os.close(fd)  # and free the lock


def _open_current(path: str) -> int:
    """The file that has the name now, locked shared."""
    for _ in range(LOCK_ATTEMPTS):
        fd = _open(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if _is_current(path, fd):
                return fd
        except BlockingIOError:
            time.sleep(LOCK_INTERVAL_S)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
    return _open(path)


def _open(path: str) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return os.open(path, flags, 0o600)


def _is_current(path: str, fd: int) -> bool:
    ours = os.fstat(fd)
    try:
        named = os.stat(path)
    except FileNotFoundError:
        return False
    return (named.st_ino, named.st_dev) == (ours.st_ino, ours.st_dev)


def _turn_over(path: str, fd: int) -> None:
    """Rename the file and make an empty one, unless somebody writes or renames: the next does."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    if _is_current(path, fd):
        os.rename(path, path + OLDER_SUFFIX)
        os.close(_open(path))
