"""Directories below a root, found without ever leaving it.

The kernel does the containing: every descriptor comes from openat2(2) with RESOLVE_BENEATH and
RESOLVE_NO_SYMLINKS on a name that has no links left in it. Links are read here, component by
component, as if the root were ``/`` (path_resolution(7)); a wrong answer, or a tree that changes
meanwhile, can therefore only lead to an error, never outside.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from runengine.linux import libc

MAX_LINKS = 40
"""Links followed in one name before it counts as a loop, as in the kernel."""
_MAX_PATH = 4000
"""Bytes given to one system call; PATH_MAX is 4096."""
_CACHED = 64
_CONTAINED = libc.RESOLVE_BENEATH | libc.RESOLVE_NO_SYMLINKS | libc.RESOLVE_NO_MAGICLINKS


class Directory(NamedTuple):
    """An open directory (O_PATH) and its name from the root, without links; '' is the root."""

    fd: int
    path: str

    def child(self, name: str) -> str:
        """The name from the root of an entry."""
        return f"{self.path}/{name}" if self.path else name


class Tree:
    """Directories below ``root_fd``, which stays the caller's, with a small cache.

    The cache must be dropped (``forget``) when a directory or a link is removed.
    Every method raises OSError.
    """

    def __init__(self, root_fd: int) -> None:
        self.root_fd = root_fd
        self._cache: dict[str, Directory] = {}
        self._retired: list[int] = []

    def directory(self, name: str) -> Directory:
        """The directory that ``name`` leads to, links followed inside the root.

        The descriptor belongs to the cache. It is good until the next call but one, even if
        ``forget`` comes in between.
        """
        while self._retired:
            os.close(self._retired.pop())
        found = self._cache.pop(name, None)
        if found is None:
            found = self._find(name)
            if len(self._cache) >= _CACHED:
                os.close(self._cache.pop(next(iter(self._cache))).fd)
        # The last one used is the last in the dictionary, the first one goes when it is full.
        self._cache[name] = found
        return found

    def forget(self) -> None:
        """Trust no descriptor any more: what they were opened by has changed."""
        self._retired += [found.fd for found in self._cache.values()]
        self._cache.clear()

    def close(self) -> None:
        """Close every descriptor."""
        self.forget()
        while self._retired:
            os.close(self._retired.pop())

    def open(self, path: str, flags: int = os.O_PATH) -> int:
        """Open the directory ``path``, which has no links, dots or empty parts in it."""
        if len(path) <= _MAX_PATH // 4:
            return open_beneath(self.root_fd, path or ".", flags)
        fd = os.dup(self.root_fd)
        try:
            while len(os.fsencode(path)) > _MAX_PATH:
                head, path = _split(path)
                deeper = open_beneath(fd, head)
                os.close(fd)
                fd = deeper
            return open_beneath(fd, path, flags)
        finally:
            os.close(fd)

    def resolve(self, name: str) -> str:
        """The name from the root, without links, of the directory ``name`` leads to.

        What is missing there is up to ``missing``, what has another kind to ``is_absent``.
        """
        walk = _Walk(self, name)
        try:
            while walk.todo:
                walk.step()
            while walk.absent:
                walk.grow()
            return "/".join(walk.done)
        finally:
            os.close(walk.fd)

    def trace(self, name: str) -> str:
        """Where ``name`` leads, its last part included; what is missing there is not made.

        Raises OSError, NotADirectoryError also for a file as the last part.
        """
        walk = _Walk(self, name)
        try:
            while walk.todo:
                walk.step()
            return "/".join([*walk.done, *walk.absent])
        finally:
            os.close(walk.fd)

    def missing(self, parent: Directory, name: str) -> None:
        """A directory that is needed is not there: make it, or raise (the default)."""
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), parent.child(name))

    def check_link(self, seen: os.stat_result, name: str) -> None:
        """Raise if this symbolic link is not to be followed (the default follows all)."""

    def is_absent(self, seen: os.stat_result) -> bool:
        """Whether something that is neither directory nor link counts as if it were not there."""
        del seen
        return False

    def _find(self, name: str) -> Directory:
        if not _is_odd(name):
            try:
                return Directory(self.open(name), name)
            except OSError:
                # A link, or something is missing.
                pass
        path = self.resolve(name)
        return Directory(self.open(path), path)


class _Walk:
    """One resolution under way.

    ``fd`` is the last directory reached that exists, ``done`` its name, ``absent`` what follows
    and does not exist. Nothing is made before all links are read: '..' may lead back.
    """

    def __init__(self, tree: Tree, name: str) -> None:
        self._tree = tree
        self._name = name
        self._links = 0
        self.todo = name.split("/")[::-1]
        self.done: list[str] = []
        self.absent: list[str] = []
        self.fd = os.dup(tree.root_fd)

    def step(self) -> None:
        """Deal with the next component."""
        part = self.todo.pop()
        if part == "..":
            if self.absent:
                self.absent.pop()
            else:
                self._jump(self.done[:-1])
        elif part not in ("", "."):
            if self.absent:
                self.absent.append(part)
            else:
                self._enter(part)

    def grow(self) -> None:
        """Make the first directory that does not exist."""
        part = self.absent.pop(0)
        self._tree.missing(Directory(self.fd, "/".join(self.done)), part)
        self._descend(part)

    def _enter(self, part: str) -> None:
        try:
            seen = os.stat(part, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            self.absent.append(part)
            return
        if stat.S_ISLNK(seen.st_mode):
            self._tree.check_link(seen, "/".join([*self.done, part]))
            self._follow(os.readlink(part, dir_fd=self.fd))
        elif stat.S_ISDIR(seen.st_mode):
            self._descend(part)
        elif self._tree.is_absent(seen):
            self.absent.append(part)
        else:
            path = "/".join([*self.done, part])
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)

    def _follow(self, target: str) -> None:
        self._links += 1
        if self._links > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self._name)
        if target.startswith("/"):
            self._jump([])
        self.todo.extend(target.split("/")[::-1])

    def _descend(self, part: str) -> None:
        self._become(open_beneath(self.fd, part))
        self.done.append(part)

    def _jump(self, done: list[str]) -> None:
        self._become(self._tree.open("/".join(done)))
        self.done = done

    def _become(self, fd: int) -> None:
        os.close(self.fd)
        self.fd = fd


def open_beneath(dir_fd: int, path: str, flags: int = os.O_PATH) -> int:
    """Open a directory below ``dir_fd``; a link anywhere in ``path`` is an error (ELOOP)."""
    return libc.openat2(dir_fd, path, flags | os.O_DIRECTORY, resolve=_CONTAINED)


def _is_odd(name: str) -> bool:
    """Whether there may be dots or empty parts in the name, besides links."""
    return "/." in name or "//" in name or name[:1] in (".", "/") or name[-1:] == "/"


def _split(path: str) -> tuple[str, str]:
    """Cut a long name between two components, at the end of what one call can take."""
    raw = os.fsencode(path)
    cut = raw.rfind(b"/", 0, _MAX_PATH)
    if cut < 0:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
    return os.fsdecode(raw[:cut]), os.fsdecode(raw[cut + 1 :])
