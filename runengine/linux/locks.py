"""Locks on objects that the kernel frees when their holder dies (flock(2))."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

POLL_INTERVAL_S = 0.01


@contextmanager
def locked(path: str, *, shared: bool = False, timeout_s: float | None = None) -> Iterator[int]:
    """Hold the lock file ``path``; its directory must exist.

    The file may be removed together with its object while we wait: the lock then counts for
    nothing and is taken anew. Raises TimeoutError after ``timeout_s``, OSError otherwise.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _flock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, deadline, path)
            if os.fstat(fd).st_nlink:
                yield fd
                return
        finally:
            os.close(fd)


def _flock(fd: int, operation: int, deadline: float | None, path: str) -> None:
    if deadline is None:
        fcntl.flock(fd, operation)
        return
    while True:
        try:
            fcntl.flock(fd, operation | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"lock {path} is held by another process") from None
            time.sleep(POLL_INTERVAL_S)


@contextmanager
def directory_locked(path: str) -> Iterator[None]:
    """Hold a directory itself, for what is too short to leave a lock file. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def try_lock(path: str, *, shared: bool = False) -> int | None:
    """Take the lock and return its descriptor, or None if somebody holds it.

    Closing the descriptor frees the lock. Raises FileNotFoundError if there is no lock file.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


def is_locked(path: str) -> bool:
    """Whether somebody holds the lock for themselves; not if there is no lock file."""
    try:
        # Shared, so that one who looks is not taken for a holder by another.
        fd = try_lock(path, shared=True)
    except FileNotFoundError:
        return False
    if fd is None:
        return True
    os.close(fd)
    return False
