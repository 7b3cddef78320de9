"""What a writable layer changes in the layers below it: added, changed and deleted paths.

Everything that differs is in the writable layer, as overlayfs left it: copied files, whiteouts,
opaque directories (overlayfs.rst). But not all that is there differs: a file is copied up when it
is opened for writing, a directory when something is made in it. So each is compared with what the
layers below show.
"""

from __future__ import annotations

import filecmp
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from runengine.rootfs import attributes
from runengine.rootfs.stack import Found, Stack
from runengine.rootfs.walk import descend

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

ADDED, CHANGED, DELETED = "A", "C", "D"
_SAME = ""
"""Of a directory that is listed only if something in it is."""


class Change(NamedTuple):
    """One path, from the root, without a leading slash."""

    path: str
    kind: str
    is_opaque: bool = False
    """A directory that hides what the layers below have in it."""
    is_implied: bool = False
    """Deleted because its directory is opaque."""
    is_file: bool = False


def changes_of(
    upper: str, lowers: Sequence[str], unless_filled: Collection[str] = ()
) -> list[Change]:
    """Changes that ``upper`` makes to ``lowers`` (top first), sorted by path.

    ``unless_filled`` are paths whose being there is no change as long as nothing is in them: the
    mount points that the engine itself makes. The tree should hold still. Raises OSError.
    """
    comparison = _Comparison(Stack(lowers), unless_filled)
    fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for listing in descend(fd):
            comparison.directory(listing.fd, "/".join(listing.names))
            for name, is_file in listing.others:
                comparison.other(listing.fd, name, is_file=is_file)
    finally:
        os.close(fd)
    return comparison.result()


class _Comparison:
    """One walk through the writable layer, parents first."""

    def __init__(self, stack: Stack, unless_filled: Collection[str]) -> None:
        self._stack = stack
        self._unless_filled = unless_filled
        self._found: list[Change] = []
        self._hidden: set[str] = set()
        """Directories in which nothing of the layers below shows."""
        self._folder = ""

    def directory(self, fd: int, path: str) -> None:
        """Compare a directory, and note which one it is: ``other`` is called for its entries."""
        self._folder = path
        if not path:
            return
        folder, _, base = path.rpartition("/")
        below = None if folder in self._hidden else self._stack.entry(folder, base)
        if below is None:
            self._hidden.add(path)
            kind = _SAME if path in self._unless_filled else ADDED
            self._found.append(Change(path, kind))
        elif not below.is_directory:
            self._hidden.add(path)
            self._found.append(Change(path, CHANGED))
        else:
            is_opaque = attributes.is_opaque(fd)
            kind = CHANGED if _looks_differ(fd, below) else _SAME
            self._found.append(Change(path, kind, is_opaque=is_opaque))
            if is_opaque:
                self._hidden.add(path)
                self._imply(fd, path)

    def _imply(self, fd: int, path: str) -> None:
        """What the directory hides and does not have anew is deleted."""
        own = set(os.listdir(fd))
        self._found += [
            Change(f"{path}/{name}", DELETED, is_implied=True)
            for name in self._stack.names(path)
            if name not in own
        ]

    def other(self, fd: int, name: str, *, is_file: bool) -> None:
        """Compare what is no directory."""
        path = f"{self._folder}/{name}" if self._folder else name
        below = None if self._folder in self._hidden else self._stack.entry(self._folder, name)
        seen = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if attributes.is_whiteout(seen):
            if below is not None:
                self._found.append(Change(path, DELETED))
        elif below is None:
            if path not in self._unless_filled or seen.st_size:
                self._found.append(Change(path, ADDED, is_file=is_file))
        elif below.is_directory or _differs(fd, name, seen, below):
            self._found.append(Change(path, CHANGED, is_file=is_file))

    def result(self) -> list[Change]:
        """Everything, without directories in which nothing has happened."""
        touched: set[str] = set()
        kept = []
        for change in reversed(self._found):
            found = change
            if change.kind == _SAME:
                if change.path not in touched:
                    continue
                is_new = change.path in self._hidden and not change.is_opaque
                found = change._replace(kind=ADDED if is_new else CHANGED)
            touched.add(change.path.rpartition("/")[0])
            kept.append(found)
        return sorted(kept)


def _looks_differ(fd: int, below: Found) -> bool:
    """Whether a directory's owner, mode or attributes changed; its time says nothing."""
    seen, other = os.fstat(fd), below.seen
    if (seen.st_mode, seen.st_uid, seen.st_gid) != (other.st_mode, other.st_uid, other.st_gid):
        return True
    return attributes.read_xattrs(fd) != attributes.read_xattrs(f"{below.layer}/{below.path}")


def _differs(dir_fd: int, name: str, seen: os.stat_result, below: Found) -> bool:
    """Whether a file is not what the layers below have; contents are the last thing to look at."""
    if _identity(seen) != _identity(below.seen):
        return True
    path, other = f"/proc/self/fd/{dir_fd}/{name}", f"{below.layer}/{below.path}"
    if attributes.read_xattrs(path) != attributes.read_xattrs(other):
        return True
    if stat.S_ISLNK(seen.st_mode):
        return os.readlink(path) != os.readlink(other)
    return stat.S_ISREG(seen.st_mode) and not filecmp.cmp(path, other, shallow=False)


def _identity(seen: os.stat_result) -> tuple[int, ...]:
    own = seen.st_mode, seen.st_uid, seen.st_gid, seen.st_rdev
    return (*own, seen.st_size, seen.st_mtime_ns)
