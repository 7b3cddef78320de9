"""Names in a file system as a user writes them, turned into open directories.

Below a container's root the kernel does it (openat2(2), RESOLVE_IN_ROOT): links, '..' and whatever
is renamed meanwhile lead nowhere else. What is found is a descriptor and one single name in it,
which nothing looks up a second time.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from typing import TYPE_CHECKING, NamedTuple

from runengine.linux import libc

if TYPE_CHECKING:
    from typing import Self

_IN_ROOT = libc.RESOLVE_IN_ROOT | libc.RESOLVE_NO_MAGICLINKS
_MAX_LINKS = 40
_DIRECTORY = os.O_PATH | os.O_DIRECTORY


class Entry(NamedTuple):
    """Something that is there: a name in an open directory; '.' is the directory itself."""

    dir_fd: int
    base: str
    seen: os.stat_result

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.seen.st_mode)


class Target(NamedTuple):
    """Where something is to go: a name in an open directory, or into the directory '.'."""

    dir_fd: int
    base: str
    seen: os.stat_result | None
    """None if nothing is there yet."""

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory to copy into."""
        return self.seen is not None and stat.S_ISDIR(self.seen.st_mode)


class MissingParent(FileNotFoundError):
    """The directory that was to hold something is not there; ``filename`` is its name."""


class Places:
    """Looks names up from one root, and keeps what it opened until ``close``.

    All methods raise OSError, with the name as it was given.
    """

    def __init__(self, root_fd: int | None = None) -> None:
        """``root_fd`` is a container's root, and stays the caller's; None is the host's."""
        self._root = libc.AT_FDCWD if root_fd is None else root_fd
        self._contained = root_fd is not None
        self._opened: list[int] = []

    def source(self, path: str, *, follow: bool = False) -> Entry:
        """What ``path`` names: a link itself, unless ``follow`` or a slash at its end."""
        base = posixpath.basename(path)
        if follow or base in ("", ".", ".."):
            fd = self._open(path, os.O_PATH | (os.O_DIRECTORY if base in ("", ".", "..") else 0))
            seen = os.fstat(fd)
            if stat.S_ISDIR(seen.st_mode):
                return Entry(fd, ".", seen)
            path = self.name_of(fd)
            base = posixpath.basename(path)
        parent = self._open(posixpath.dirname(path) or ".", _DIRECTORY)
        try:
            seen = os.stat(base, dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            raise _about(error, path) from None
        return Entry(parent, base, seen)

    def target(self, path: str) -> Target:
        """Where a copy to ``path`` goes, links followed, also one that leads to nothing yet."""
        for _ in range(_MAX_LINKS):
            try:
                return self._existing(path)
            except FileNotFoundError:
                link = self._link(path)
            if link is None:
                return self._missing(path)
            path = posixpath.join(posixpath.dirname(path), link)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)

    def real_name(self, path: str) -> str:
        """The name from the root of what ``path`` leads to, which may not be there."""
        target = self.target(path)
        folder = self.name_of(target.dir_fd)
        return folder if target.base == "." else posixpath.join(folder, target.base)

    def name_of(self, fd: int) -> str:
        """The name from the root of something that is open."""
        name = os.readlink(f"/proc/self/fd/{fd}")
        if not self._contained:
            return name
        root = os.readlink(f"/proc/self/fd/{self._root}")
        return "/" + name[len(root) :].lstrip("/")

    def close(self) -> None:
        """Close what was opened."""
        while self._opened:
            os.close(self._opened.pop())

    def _existing(self, path: str) -> Target:
        fd = self._open(path, os.O_PATH)
        seen = os.fstat(fd)
        if stat.S_ISDIR(seen.st_mode):
            return Target(fd, ".", seen)
        real = self.name_of(fd)
        parent = self._open(posixpath.dirname(real), _DIRECTORY)
        return Target(parent, posixpath.basename(real), seen)

    def _missing(self, path: str) -> Target:
        clean = path.rstrip("/")
        folder = posixpath.dirname(clean) or "."
        try:
            parent = self._open(folder, _DIRECTORY)
        except FileNotFoundError as error:
            raise MissingParent(error.errno, error.strerror, folder) from None
        return Target(parent, posixpath.basename(clean), None)

    def _link(self, path: str) -> str | None:
        """What the link ``path`` says; None if it is none."""
        try:
            fd = self._open(path.rstrip("/"), os.O_PATH | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        if not stat.S_ISLNK(os.fstat(fd).st_mode):
            return None
        return os.readlink("", dir_fd=fd)

    def _open(self, path: str, flags: int) -> int:
        if "\0" in path:
            raise OSError(errno.EINVAL, "a name cannot have a NUL byte", path)
        name = (path.lstrip("/") or ".") if self._contained else path
        try:
            fd = libc.openat2(self._root, name, flags, resolve=_IN_ROOT if self._contained else 0)
        except OSError as error:
            raise _about(error, path) from None
        self._opened.append(fd)
        return fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _about(error: OSError, path: str) -> OSError:
    """The same error, of the name as the user wrote it."""
    code = error.errno or errno.EIO
    return OSError(code, os.strerror(code), path)
