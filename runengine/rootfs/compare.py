"""Compares a tree with what it should be, entry by entry: a layer may have been damaged."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from runengine.rootfs.tree import Tree
from runengine.rootfs.walk import walk

if TYPE_CHECKING:
    from runengine.rootfs.walk import Visit

_READ_BYTES = 1 << 20
_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
}


class Difference(NamedTuple):
    """Where a tree is not as it should be."""

    path: str
    what: str


def compare(expected: str, found: str, limit: int) -> list[Difference]:
    """Up to ``limit`` differences of the tree at ``found`` from the one at ``expected``.

    Names, types, modes, owners, sizes, content, times of modification, extended attributes,
    devices, targets and hard links. What it reads of ``found`` comes from the disk where the
    kernel can be asked for that. Raises OSError for what cannot be read of ``expected``.
    """
    root_fd = os.open(found, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    tree = Tree(root_fd)
    comparison = _Comparison(tree, limit)
    try:
        for visit in walk(expected):
            comparison.directory(visit)
            if len(comparison.differences) >= limit:
                break
    finally:
        tree.close()
        os.close(root_fd)
    return comparison.differences[:limit]


class _Comparison:
    """One under way."""

    def __init__(self, tree: Tree, limit: int) -> None:
        self.differences: list[Difference] = []
        self._tree = tree
        self._limit = limit
        self._wanted_links: dict[tuple[int, int], str] = {}
        self._found_links: dict[tuple[int, int], str] = {}
        """The first name of each inode that has several: others must agree on it."""

    def directory(self, visit: Visit) -> None:
        """Compare one directory and what is in it that is none."""
        path = "/".join(visit.names)
        try:
            fd = self._tree.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return  # told where its parent is compared
        try:
            names = [f"/proc/self/fd/{one}" for one in (visit.fd, fd)]
            self._attributes(path or "/", names, follow=True)
            wanted, found = set(os.listdir(visit.fd)), set(os.listdir(fd))
            for name in sorted(wanted ^ found):
                what = "is missing" if name in wanted else "should not be there"
                self._note(_join(path, name), what)
            for name in sorted(wanted & found):
                if len(self.differences) >= self._limit:
                    return
                self._entry(path, name, visit.fd, fd)
        except OSError as error:
            self._note(path or "/", f"cannot be read: {error.strerror}")
        finally:
            os.close(fd)

    def _note(self, path: str, what: str) -> None:
        self.differences.append(Difference(path, what))

    def _entry(self, folder: str, name: str, wanted_fd: int, found_fd: int) -> None:
        path = _join(folder, name)
        wanted = os.stat(name, dir_fd=wanted_fd, follow_symlinks=False)
        try:
            found = os.stat(name, dir_fd=found_fd, follow_symlinks=False)
        except OSError as error:
            self._note(path, f"cannot be read: {error.strerror}")
            return
        if stat.S_IFMT(wanted.st_mode) != stat.S_IFMT(found.st_mode):
            self._note(path, f"is {_kind(found)} instead of {_kind(wanted)}")
            return
        if stat.S_ISDIR(wanted.st_mode):
            return  # compared when it is visited itself
        names = [f"/proc/self/fd/{fd}/{name}" for fd in (wanted_fd, found_fd)]
        before = len(self.differences)
        try:
            self._attributes(path, names, follow=False)
            self._content(path, wanted, found, names)
        except OSError as error:
            self._note(path, f"cannot be read: {error.strerror}")
        if len(self.differences) == before:
            self._links(path, wanted, found)

    def _attributes(self, path: str, names: list[str], *, follow: bool) -> None:
        """Compare what everything has; ``follow`` for names that are descriptors."""
        wanted, found = (os.stat(name, follow_symlinks=follow) for name in names)
        for what, one, other in (
            ("mode", oct(wanted.st_mode & 0o7777), oct(found.st_mode & 0o7777)),
            ("owner", (wanted.st_uid, wanted.st_gid), (found.st_uid, found.st_gid)),
            ("time", wanted.st_mtime_ns, found.st_mtime_ns),
            ("device number", wanted.st_rdev, found.st_rdev),
        ):
            if one != other:
                self._note(path, f"{what} is {_shown(other)} instead of {_shown(one)}")
        one_set, other_set = (_xattrs(name, follow=follow) for name in names)
        for key in sorted(one_set.keys() | other_set.keys()):
            if one_set.get(key) != other_set.get(key):
                self._note(path, f"attribute {key} differs")

    def _content(
        self, path: str, wanted: os.stat_result, found: os.stat_result, names: list[str]
    ) -> None:
        if os.path.samestat(wanted, found):
            return
        if stat.S_ISLNK(wanted.st_mode):
            one, other = (os.readlink(name) for name in names)
            if one != other:
                self._note(path, f"leads to {other!r} instead of {one!r}")
        elif stat.S_ISREG(wanted.st_mode):
            if wanted.st_size != found.st_size:
                self._note(path, f"has {found.st_size} bytes instead of {wanted.st_size}")
            elif not _same_content(*names):
                self._note(path, "has other content")

    def _links(self, path: str, wanted: os.stat_result, found: os.stat_result) -> None:
        """Two names of one file must be two names of one file."""
        if wanted.st_nlink == found.st_nlink == 1:
            return
        first = self._wanted_links.setdefault((wanted.st_dev, wanted.st_ino), path)
        other = self._found_links.setdefault((found.st_dev, found.st_ino), path)
        if first != other:
            what = f"is not the same file as {first}" if first != path else "is a link to another"
            self._note(path, what)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _kind(seen: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(seen.st_mode), "of another type")


def _shown(value: object) -> str:
    return ":".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _xattrs(path: str, *, follow: bool) -> dict[str, bytes]:
    return {
        key: os.getxattr(path, key, follow_symlinks=follow)
        for key in os.listxattr(path, follow_symlinks=follow)
    }


def _same_content(wanted: str, found: str) -> bool:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NOATIME | os.O_CLOEXEC
    one, other = os.open(wanted, flags), os.open(found, flags)
    try:
        # What the page cache has may be right where the disk is not.
        os.posix_fadvise(other, 0, 0, os.POSIX_FADV_DONTNEED)
        while True:
            piece = os.read(one, _READ_BYTES)
            if piece != os.read(other, _READ_BYTES):
                return False
            if not piece:
                return True
    finally:
        os.close(one)
        os.close(other)
