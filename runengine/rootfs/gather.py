"""A file or a tree as a tar, mounts included: what a user sees below a name in a container."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from runengine.linux import kernelfs
from runengine.rootfs.copytree import same
from runengine.rootfs.pack import Packer
from runengine.rootfs.sink import FileSink

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.rootfs.copytree import Owners
    from runengine.rootfs.places import Entry

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def write_archive(
    fd: int,
    entry: Entry,
    name: str,
    *,
    hidden: frozenset[tuple[int, int]] = frozenset(),
    check: Callable[[], None] | None = None,
    owners: Owners = same,
) -> None:
    """Write an entry, with all that is below it, as ``name`` to an open file, pipe or socket.

    Directories that are ``hidden``, or on a file system that the kernel makes up, are empty.
    ``check`` is called before each directory, ``owners`` has what those of the files are in the
    archive. Raises OSError, and what ``check`` raises.
    """
    sink = FileSink(fd)
    packer = Packer(sink, owners=owners)
    if entry.is_dir:
        _Gathering(packer, hidden, check).run(entry, name)
    else:
        packer.add(entry.dir_fd, entry.base, name)
    packer.finish()
    sink.flush()


class _Gathering:
    """A walk down a tree, with one descriptor, whose way back up is checked."""

    def __init__(
        self,
        packer: Packer,
        hidden: frozenset[tuple[int, int]],
        check: Callable[[], None] | None,
    ) -> None:
        self._packer = packer
        self._hidden = hidden
        self._check = check
        self._names: list[str] = []
        self._levels: list[tuple[list[str], os.stat_result]] = []

    def run(self, entry: Entry, name: str) -> None:
        fd = os.open(entry.base, _DIRECTORY, dir_fd=entry.dir_fd)
        try:
            self._names.append(name)
            self._packer.add(fd, ".", name)
            self._enter(fd)
            while True:
                todo, _ = self._levels[-1]
                if todo:
                    fd = self._descend(fd, todo.pop())
                    continue
                self._levels.pop()
                if not self._levels:
                    return
                fd = self._ascend(fd)
        finally:
            os.close(fd)

    def _enter(self, fd: int) -> None:
        """Archive the files of a directory, and note its directories."""
        if self._check is not None:
            self._check()
        seen = os.fstat(fd)
        todo: list[str] = []
        self._levels.append((todo, seen))
        if (seen.st_dev, seen.st_ino) in self._hidden or self._is_made_up(fd, seen):
            return
        with os.scandir(fd) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.name)
                else:
                    is_file = entry.is_file(follow_symlinks=False)
                    self._packer.add(fd, entry.name, self._name(entry.name), is_file=is_file)

    def _name(self, base: str) -> str:
        return "/".join([*self._names, base])

    def _is_made_up(self, fd: int, seen: os.stat_result) -> bool:
        return seen.st_dev != self._levels[0][1].st_dev and kernelfs.is_made_up(fd)

    def _descend(self, fd: int, base: str) -> int:
        try:
            child = os.open(base, _DIRECTORY, dir_fd=fd)
        except (FileNotFoundError, NotADirectoryError):
            return fd  # gone, or something else by now
        os.close(fd)
        self._names.append(base)
        self._packer.add(child, ".", "/".join(self._names))
        self._enter(child)
        return child

    def _ascend(self, fd: int) -> int:
        parent = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        if not os.path.samestat(os.fstat(parent), self._levels[-1][1]):
            os.close(parent)
            raise OSError(errno.ESTALE, "a directory was moved while it was copied")
        os.close(fd)
        self._names.pop()
        return parent
