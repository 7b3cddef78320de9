"""Walking a tree of any depth with two descriptors, never across a mount or a link."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from runengine.linux import libc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Each = Callable[[int, os.DirEntry[str]], None]
    """Called with the directory's descriptor for every entry that is not a directory."""
    Leave = Callable[[int, str], None]
    """Called with the parent's descriptor and a name, once that directory is done with."""

_INSIDE = libc.RESOLVE_BENEATH | libc.RESOLVE_NO_SYMLINKS | libc.RESOLVE_NO_XDEV


class _Level(NamedTuple):
    """A directory on the way down: subdirectories still to visit, and which inode it is."""

    todo: list[str]
    device: int
    inode: int


class Visit(NamedTuple):
    """A directory whose subdirectories have all been visited. Both fields change afterwards."""

    fd: int
    names: list[str]
    """Components of its name from where the walk began."""


def walk(path: str, each: Each | None = None, leave: Leave | None = None) -> Iterator[Visit]:
    """Visit ``path`` and every directory below it, deepest first.

    Directories that vanish meanwhile are passed over. Raises OSError; EXDEV for a mount point.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    names: list[str] = []
    levels: list[_Level] = []
    try:
        levels.append(_scan(fd, each))
        while True:
            todo = levels[-1].todo
            if todo:
                child = _enter(fd, todo.pop(), names)
                if child is not None:
                    fd = _swap(fd, child)
                    levels.append(_scan(fd, each))
                continue
            yield Visit(fd, names)
            levels.pop()
            if not levels:
                return
            fd = _swap(fd, _parent(fd, levels[-1]))
            name = names.pop()
            if leave is not None:
                leave(fd, name)
    finally:
        os.close(fd)


class Listing(NamedTuple):
    """A directory and what is in it. Descriptor and names change afterwards."""

    fd: int
    names: list[str]
    """Components of its name from where the walk began."""
    others: list[tuple[str, bool]]
    """What is not a directory: its name, and whether it is a regular file. Sorted."""


def descend(fd: int) -> Iterator[Listing]:
    """Visit the open directory and every one below it, parents first, sorted by name.

    Directories that vanish meanwhile are passed over. Raises OSError; EXDEV for a mount point.
    """
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    names: list[str] = []
    levels: list[_Level] = []
    try:
        while True:
            others: list[tuple[str, bool]] = []
            level = _scan(fd, _collector(others))
            level.todo.sort(reverse=True)
            yield Listing(fd, names, sorted(others))
            levels.append(level)
            child = None
            while child is None:
                while not levels[-1].todo:
                    levels.pop()
                    if not levels:
                        return
                    fd = _swap(fd, _parent(fd, levels[-1]))
                    names.pop()
                child = _enter(fd, levels[-1].todo.pop(), names)
            fd = _swap(fd, child)
    finally:
        os.close(fd)


def _collector(others: list[tuple[str, bool]]) -> Each:
    def collect(_fd: int, entry: os.DirEntry[str]) -> None:
        others.append((entry.name, entry.is_file(follow_symlinks=False)))

    return collect


def _swap(fd: int, new: int) -> int:
    os.close(fd)
    return new


def _scan(fd: int, each: Each | None) -> _Level:
    """List one directory, the non-directories going to ``each`` as they are met."""
    subdirectories: list[str] = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                subdirectories.append(entry.name)
            elif each is not None:
                each(fd, entry)
    seen = os.fstat(fd)
    return _Level(subdirectories, seen.st_dev, seen.st_ino)


def _enter(fd: int, name: str, names: list[str]) -> int | None:
    try:
        child = libc.openat2(fd, name, os.O_RDONLY | os.O_DIRECTORY, resolve=_INSIDE)
    except FileNotFoundError:
        return None
    names.append(name)
    return child


def _parent(fd: int, expected: _Level) -> int:
    """Go up; to somewhere else if the directory was moved under us, which is refused."""
    parent = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    seen = os.fstat(parent)
    if (seen.st_dev, seen.st_ino) != (expected.device, expected.inode):
        os.close(parent)
        raise OSError(errno.ESTALE, "directory was moved while it was walked")
    return parent


def remove_tree(path: str) -> None:
    """Remove ``path`` with everything below it; nothing there is fine.

    Neither links nor mounts are followed. Raises OSError.
    """
    try:
        for _ in walk(path, _unlink, _rmdir):
            pass
        os.rmdir(path)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        os.unlink(path)


def _unlink(fd: int, entry: os.DirEntry[str]) -> None:
    try:
        os.unlink(entry.name, dir_fd=fd)
    except FileNotFoundError:
        return


def _rmdir(fd: int, name: str) -> None:
    try:
        os.rmdir(name, dir_fd=fd)
    except FileNotFoundError:
        return
