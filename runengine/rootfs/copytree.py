"""Copying what is in a directory as it is: owners, modes, attributes, links, devices, holes.

Both sides are held by descriptors and never left, whoever else writes there meanwhile: names are
opened below them without following links, and files are only made where nothing is.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from runengine.rootfs import attributes, sparse
from runengine.rootfs.sink import FileSink
from runengine.rootfs.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Owners = Callable[[int, int], tuple[int, int]]
    """From a file's owner and group on this side to those that its copy gets."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAKE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def same(uid: int, gid: int) -> tuple[int, int]:
    """Owners stay."""
    return uid, gid


def copy_contents(source_fd: int, target_fd: int, owners: Owners = same) -> None:
    """Copy everything below one directory to another; what has a name there already stays.

    The target's own look becomes the source's. Raises OSError.
    """
    copy = _Copy(source_fd, target_fd, owners)
    try:
        copy.run()
    finally:
        copy.close()


def copy_look(source_fd: int, target_fd: int, owners: Owners = same) -> None:
    """Give an open directory the owner, mode, attributes and times of another."""
    attributes.apply_fd(target_fd, _look(source_fd, owners))


def _look(fd: int, owners: Owners) -> attributes.Attributes:
    found = attributes.read_fd(fd)
    uid, gid = owners(found.uid, found.gid)
    return found._replace(uid=uid, gid=gid)


class _Copy:
    """A copy under way."""

    def __init__(self, source_fd: int, target_fd: int, owners: Owners) -> None:
        self._source, self._target = Tree(source_fd), Tree(target_fd)
        self._owners = owners
        self._links: dict[tuple[int, int], tuple[str, str]] = {}
        """Where the first name of a file with several was put: directory and name."""

    def close(self) -> None:
        """Let go of both sides."""
        self._source.close()
        self._target.close()

    def run(self) -> None:
        """Copy all; directories get their looks last: what is made in them changes their times."""
        done, todo = [], [""]
        while todo:
            path = todo.pop()
            done.append(path)
            todo += self._directory(path)
        for path in reversed(done):
            with suppress(FileNotFoundError):  # somebody removed it meanwhile
                self._finish(path)

    def _directory(self, path: str) -> list[str]:
        """Copy what is in one directory; the names of those in it."""
        found = []
        with self._opened(path) as (source, target), os.scandir(source) as entries:
            for entry in entries:
                child = f"{path}/{entry.name}" if path else entry.name
                if entry.is_dir(follow_symlinks=False):
                    with suppress(FileExistsError):
                        os.mkdir(entry.name, 0o700, dir_fd=target)
                    found.append(child)
                else:
                    with suppress(FileExistsError):
                        self._file(source, target, entry, path)
        return found

    @contextmanager
    def _opened(self, path: str) -> Iterator[tuple[int, int]]:
        """A directory on both sides."""
        source = self._source.open(path, os.O_RDONLY)
        try:
            target = self._target.open(path, os.O_RDONLY)
            try:
                yield source, target
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _finish(self, path: str) -> None:
        with self._opened(path) as (source, target):
            copy_look(source, target, self._owners)

    def _file(self, source: int, target: int, entry: os.DirEntry[str], directory: str) -> None:
        seen = entry.stat(follow_symlinks=False)
        if seen.st_nlink > 1 and self._link(seen, target, entry.name, directory):
            return
        if stat.S_ISREG(seen.st_mode):
            self._regular(source, target, entry.name)
        elif stat.S_ISLNK(seen.st_mode):
            os.symlink(os.readlink(entry.name, dir_fd=source), entry.name, dir_fd=target)
            attributes.apply_at(target, entry.name, self._at(source, entry.name, seen), link=True)
        else:
            os.mknod(entry.name, seen.st_mode, seen.st_rdev, dir_fd=target)
            _give_look(target, entry.name, self._at(source, entry.name, seen))

    def _link(self, seen: os.stat_result, target: int, name: str, directory: str) -> bool:
        """Give a file that was copied already one more name; False for its first."""
        identity = (seen.st_dev, seen.st_ino)
        if identity not in self._links:
            self._links[identity] = (directory, name)
            return False
        first, known_as = self._links[identity]
        fd = self._target.open(first)
        try:
            os.link(known_as, name, src_dir_fd=fd, dst_dir_fd=target, follow_symlinks=False)
        except FileNotFoundError:  # gone meanwhile: this becomes the first
            self._links[identity] = (directory, name)
            return False
        finally:
            os.close(fd)
        return True

    def _regular(self, source: int, target: int, name: str) -> None:
        fd = os.open(name, _READ, dir_fd=source)
        try:
            made = os.open(name, _MAKE, 0o600, dir_fd=target)
            try:
                _copy_data(fd, made)
                attributes.apply_fd(made, _look(fd, self._owners))
            finally:
                os.close(made)
        finally:
            os.close(fd)

    def _at(self, source: int, name: str, seen: os.stat_result) -> attributes.Attributes:
        """The look of something that cannot be opened."""
        path = f"/proc/self/fd/{source}/{name}"
        xattrs = {
            key: os.getxattr(path, key, follow_symlinks=False)
            for key in os.listxattr(path, follow_symlinks=False)
        }
        uid, gid = self._owners(seen.st_uid, seen.st_gid)
        return attributes.Attributes(
            stat.S_IMODE(seen.st_mode), uid, gid, seen.st_mtime_ns, xattrs
        )


def _give_look(dir_fd: int, name: str, look: attributes.Attributes) -> None:
    """Set what a device, fifo or socket is besides its content, whoever has the name by now."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            return
        path = f"/proc/self/fd/{fd}"
        os.chown(path, look.uid, look.gid)
        os.chmod(path, look.mode)
        os.utime(path, ns=attributes.times(look.mtime_ns))
    finally:
        os.close(fd)


def _copy_data(source: int, target: int) -> None:
    seen = os.fstat(source)
    sink = FileSink(target)
    for offset, length in sparse.map_of(source, seen) or [(0, seen.st_size)]:
        if length:
            os.lseek(source, offset, os.SEEK_SET)
            os.lseek(target, offset, os.SEEK_SET)
            sink.copy(source, length)
    os.ftruncate(target, seen.st_size)
