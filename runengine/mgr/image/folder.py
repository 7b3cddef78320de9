"""A directory in place of an archive: an OCI layout on disk, or skopeo's ``dir:``.

Only regular files count, and no link is followed: a layout from elsewhere must not be able to
make the engine read files of this host.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from runengine.errors import Corrupt, EngineError, InvalidParameter
from runengine.mgr.image.archive import CHUNK_BYTES, Member
from runengine.rootfs.walk import descend

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Folder:
    """Iterate over it for its files; ``chunks`` gives the content of the current one."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._left = 0

    def __iter__(self) -> Iterator[Member]:
        """Every regular file, by its name below the directory. Raises InvalidParameter."""
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
        for listing in descend(fd):
            for name, is_file in listing.others:
                if is_file:
                    with os.fdopen(os.open(name, _OPEN, dir_fd=listing.fd), "rb") as self._file:
                        self._left = os.fstat(self._file.fileno()).st_size
                        path = "/".join([*listing.names, name])
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
