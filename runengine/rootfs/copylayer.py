"""Copies what a writable layer changes into a layer's directory, as if it had been unpacked there.

Both have the same form, so this is a copy but for three things: only what ``changes_of`` found is
taken, overlayfs's notes of where a file came from stay behind, and times are whole seconds, as in
the archive.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from runengine.linux.fsatomic import write_all
from runengine.rootfs import attributes
from runengine.rootfs.attributes import Attributes
from runengine.rootfs.changes import DELETED
from runengine.rootfs.pack import SMALL_BYTES
from runengine.rootfs.sink import FileSink
from runengine.rootfs.sparse import map_of
from runengine.rootfs.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.rootfs.changes import Change

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NSEC = 1_000_000_000


def copy_layer(upper: str, changes: Iterable[Change], target: str) -> None:
    """Copy the changes in ``upper`` into ``target``, an empty directory. Raises OSError."""
    source_fd, target_fd = os.open(upper, _DIRECTORY), os.open(target, _DIRECTORY)
    copy = _Copy(Tree(source_fd), Tree(target_fd))
    try:
        copy.root()
        for change in changes:
            copy.take(change)
        copy.finish()
    finally:
        copy.source.close()
        copy.target.close()
        os.close(source_fd)
        os.close(target_fd)


class _Copy:
    """One copy under way."""

    def __init__(self, source: Tree, target: Tree) -> None:
        self.source = source
        self.target = target
        self._directories: list[tuple[str, Attributes]] = []
        self._links: dict[tuple[int, int], str] = {}

    def root(self) -> None:
        """The directory itself."""
        self._directories.append(("", _look(self.source.root_fd)))

    def take(self, change: Change) -> None:
        """One change; parents come first."""
        folder, _, base = change.path.rpartition("/")
        if change.is_implied:
            return
        target = self.target.directory(folder).fd
        if change.kind == DELETED:
            os.mknod(base, stat.S_IFCHR, os.makedev(0, 0), dir_fd=target)
            return
        source = self.source.directory(folder).fd
        seen = os.stat(base, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(seen.st_mode):
            self._directory(source, target, base, change)
        elif seen.st_nlink == 1 or not self._linked(seen, change.path, target, base):
            _copy_entry(source, target, base, seen)

    def _directory(self, source: int, target: int, base: str, change: Change) -> None:
        os.mkdir(base, 0o700, dir_fd=target)
        fd = os.open(base, _DIRECTORY, dir_fd=source)
        try:
            self._directories.append((change.path, _look(fd)))
        finally:
            os.close(fd)
        if change.is_opaque:
            fd = os.open(base, _DIRECTORY, dir_fd=target)
            try:
                attributes.mark_opaque(fd)
            finally:
                os.close(fd)

    def _linked(self, seen: os.stat_result, path: str, target: int, base: str) -> bool:
        first = self._links.setdefault((seen.st_dev, seen.st_ino), path)
        if first == path:
            return False
        folder, _, name = first.rpartition("/")
        other = self.target.open(folder)
        try:
            os.link(name, base, src_dir_fd=other, dst_dir_fd=target, follow_symlinks=False)
        finally:
            os.close(other)
        return True

    def finish(self) -> None:
        """Set the looks of directories, now that nothing is added to them any more."""
        for path, look in reversed(self._directories):
            fd = self.target.open(path, os.O_RDONLY)
            try:
                attributes.apply_fd(fd, look)
            finally:
                os.close(fd)


def _look(fd: int) -> Attributes:
    seen = os.fstat(fd)
    return _looks(seen, attributes.read_xattrs(fd))


def _looks(seen: os.stat_result, xattrs: dict[str, bytes]) -> Attributes:
    mtime_ns = seen.st_mtime_ns - seen.st_mtime_ns % _NSEC
    return Attributes(
        stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid, mtime_ns, xattrs
    )


def _copy_entry(source: int, target: int, base: str, seen: os.stat_result) -> None:
    """Anything but a directory; sockets are left out, as in an archive."""
    if stat.S_ISREG(seen.st_mode):
        _copy_file(source, target, base, seen)
    elif stat.S_ISLNK(seen.st_mode):
        os.symlink(os.readlink(base, dir_fd=source), base, dir_fd=target)
        _apply_at(source, target, base, seen)
    elif not stat.S_ISSOCK(seen.st_mode):
        os.mknod(base, stat.S_IFMT(seen.st_mode) | 0o600, seen.st_rdev, dir_fd=target)
        _apply_at(source, target, base, seen)


def _apply_at(source: int, target: int, base: str, seen: os.stat_result) -> None:
    xattrs = attributes.read_xattrs(f"/proc/self/fd/{source}/{base}")
    look = _looks(seen, xattrs)
    attributes.apply_at(target, base, look, link=stat.S_ISLNK(seen.st_mode))


def _copy_file(source: int, target: int, base: str, seen: os.stat_result) -> None:
    read = os.open(base, _READ, dir_fd=source)
    try:
        write = os.open(base, _CREATE, 0o600, dir_fd=target)
        try:
            _copy_content(read, write, seen)
            attributes.apply_fd(write, _looks(seen, attributes.read_xattrs(read)))
        finally:
            os.close(write)
    finally:
        os.close(read)


def _copy_content(read: int, write: int, seen: os.stat_result) -> None:
    if seen.st_size <= SMALL_BYTES:
        write_all(write, os.read(read, SMALL_BYTES))
        return
    segments = map_of(read, seen)
    sink = FileSink(write)
    if segments is None:
        sink.copy(read, seen.st_size)
        return
    for offset, length in segments:
        os.lseek(read, offset, os.SEEK_SET)
        os.lseek(write, offset, os.SEEK_SET)
        sink.copy(read, length)
    os.ftruncate(write, seen.st_size)
