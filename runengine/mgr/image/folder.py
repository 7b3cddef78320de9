"""A directory in place of an archive: an OCI layout on disk, or skopeo's ``dir:``.

Only regular files with the names of these formats count, and no link is followed: a layout from
elsewhere must not be able to make the engine read files of this host, and a directory named by
mistake is not read through.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import TYPE_CHECKING, BinaryIO

from runengine.errors import Corrupt, EngineError, InvalidParameter
from runengine.linux import libc
from runengine.mgr.image.archive import CHUNK_BYTES, Member

if TYPE_CHECKING:
    from collections.abc import Iterator

_LISTS = frozenset({"index.json", "manifest.json", "oci-layout"})
_HEX = re.compile(r"[0-9a-f]{64}")
_BLOBS = "blobs/sha256"
_INSIDE = libc.RESOLVE_BENEATH | libc.RESOLVE_NO_SYMLINKS
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Folder:
    """Iterate over it for its files; ``chunks`` gives the content of the current one."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._left = 0

    def __iter__(self) -> Iterator[Member]:
        """Every file that counts, by its name below the directory.

        Raises InvalidParameter if it cannot be read, Corrupt if it says nothing of images.
        """
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise InvalidParameter(f"cannot read {self._path}: {error.strerror}") from error
        try:
            yield from self._files(fd)
        except OSError as error:
            raise EngineError(f"cannot read {self._path}", details=error.strerror) from error
        finally:
            os.close(fd)

    def _files(self, fd: int) -> Iterator[Member]:
        top = sorted(os.listdir(fd))
        if not _LISTS.intersection(top):
            raise Corrupt(
                f"{self._path} has no index.json or manifest.json",
                resolution="name a directory with an OCI layout",
            )
        for name in top:
            if name in _LISTS or _HEX.fullmatch(name):
                yield from self._member(fd, name, name)
        try:
            blobs = libc.openat2(fd, _BLOBS, os.O_RDONLY | os.O_DIRECTORY, resolve=_INSIDE)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            for name in sorted(os.listdir(blobs)):
                if _HEX.fullmatch(name):
                    yield from self._member(blobs, name, f"{_BLOBS}/{name}")
        finally:
            os.close(blobs)

    def _member(self, fd: int, name: str, path: str) -> Iterator[Member]:
        """The file, if it is a regular one."""
        try:
            opened = os.open(name, _OPEN, dir_fd=fd)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENOENT):
                return
            raise
        with os.fdopen(opened, "rb") as self._file:
            seen = os.fstat(opened)
            if stat.S_ISREG(seen.st_mode):
                self._left = seen.st_size
                yield Member(path, self._left, is_file=True, target=None)
        self._file = None

    def chunks(self) -> Iterator[bytes]:
        """What is left of the current file."""
        while self._left and self._file is not None:
            chunk = self._file.read(min(self._left, CHUNK_BYTES))
            if not chunk:
                raise Corrupt(f"a file in {self._path} was cut short while it was read")
            self._left -= len(chunk)
            yield chunk

    def read(self) -> bytes:
        """The rest of the current file in one piece: the caller checks the size."""
        return b"".join(self.chunks())

    def check_intact(self) -> None:
        """A file that cannot be read says nothing about the others."""
