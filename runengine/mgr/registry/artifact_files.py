"""A directory that an artifact's files are written to, and that none of them leaves."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runengine.errors import InvalidParameter, Unavailable
from runengine.linux import libc
from runengine.registry.patience import backoff_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

ATTEMPTS = 4


class Directory:
    """Where files are written: the kernel keeps every path below it (openat2)."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> Self:
        try:
            Path(self._path).mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise InvalidParameter(
                f"cannot write to {self._path}", details=error.strerror
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def has(self, name: str) -> bool:
        """Whether there is something of this name."""
        try:
            os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def write(
        self,
        name: str,
        chunks: Callable[[], Iterator[bytes]],
        report: Callable[[int], None],
    ) -> None:
        """Put a file into its place when all of it has come and is right.

        Raises InvalidParameter where links or files are in the way, and what ``chunks`` raises.
        """
        folder, _, base = name.rpartition("/")
        try:
            fd = self._folder(folder)
            try:
                _write(fd, base, chunks, report)
            finally:
                os.close(fd)
        except OSError as error:
            raise InvalidParameter(
                f"cannot write {name} in {self._path}", details=error.strerror
            ) from None

    def _folder(self, folder: str) -> int:
        """The directory below ours, made if need be; not through links."""
        inside = libc.RESOLVE_BENEATH | libc.RESOLVE_NO_SYMLINKS
        flags = os.O_RDONLY | os.O_DIRECTORY
        fd = os.dup(self._fd)
        for part in folder.split("/") if folder else ():
            try:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=fd)
                inner = libc.openat2(fd, part, flags, resolve=inside)
            finally:
                os.close(fd)
            fd = inner
        return fd


def _write(
    folder: int, base: str, chunks: Callable[[], Iterator[bytes]], report: Callable[[int], None]
) -> None:
    temporary = f".{os.urandom(8).hex()}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o644, dir_fd=folder)
    try:
        with os.fdopen(fd, "wb") as out:
            _fill(out, chunks, report)
        os.rename(temporary, base, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary, dir_fd=folder)
        raise


def _fill(out: Any, chunks: Callable[[], Iterator[bytes]], report: Callable[[int], None]) -> None:
    """All of it, from the beginning again after each break."""
    for attempt in range(ATTEMPTS):
        out.seek(0)
        out.truncate()
        try:
            for chunk in chunks():
                out.write(chunk)
                report(out.tell())
            return
        except Unavailable:
            if attempt + 1 == ATTEMPTS:
                raise
            time.sleep(backoff_s(attempt + 1))
