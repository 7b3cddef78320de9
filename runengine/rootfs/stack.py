"""What a stack of layers shows, found out without mounting it (overlayfs.rst)."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from runengine.rootfs.attributes import is_whiteout
from runengine.rootfs.overlay import OPAQUE_XATTR
from runengine.rootfs.tree import MAX_LINKS

if TYPE_CHECKING:
    from collections.abc import Sequence


class Found(NamedTuple):
    """A file that shows: the layer it comes from, its name there, and what it is."""

    layer: str
    path: str
    seen: os.stat_result

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory (the topmost one, where several are merged)."""
        return stat.S_ISDIR(self.seen.st_mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.seen.st_mode)


class Stack:
    """Layers, top first, that nobody else changes. Methods raise OSError.

    A merged directory has the same name in every layer that takes part in it, so all there is to
    remember of one is which layers these are. ``forget`` when one of the layers has changed.
    """

    def __init__(self, layers: Sequence[str]) -> None:
        self._layers = layers
        self._merged: dict[str, tuple[int, ...]] = {}

    def forget(self) -> None:
        """Look again at everything."""
        self._merged.clear()

    def entry(self, folder: str, name: str, *, below_top: bool = False) -> Found | None:
        """What shows as ``name`` in ``folder`` (which has no links in it).

        With ``below_top`` it is what would show if the top layer did not have that name.
        """
        path = _join(folder, name)
        for number in self._parts(folder):
            if number == 0 and below_top:
                continue
            seen = _lstat(f"{self._layers[number]}/{path}")
            if seen is not None:
                return None if is_whiteout(seen) else Found(self._layers[number], path, seen)
        return None

    def names(self, folder: str) -> list[str]:
        """Names of all that shows in a directory (which has no links in it), sorted."""
        layers = [self._layers[number] for number in self._parts(folder)]
        found = {name for layer in layers for name in os.listdir(f"{layer}/{folder}")}
        return sorted(name for name in found if self.entry(folder, name) is not None)

    def is_merged(self, folder: str) -> bool:
        """Whether more than one layer has part in a directory."""
        return len(self._parts(folder)) > 1

    def lookup(self, path: str, *, below_top: bool = False) -> Found | None:
        """``entry`` of a name whose links are followed, but for the last part."""
        folder, _, name = path.rpartition("/")
        try:
            where = self.resolve("", folder)
        except NotADirectoryError:
            return None
        return self.entry(where, name, below_top=below_top) if name else None

    def resolve(self, folder: str, path: str) -> str:
        """Where ``path`` leads from ``folder``, without links in it; parts that are missing stay.

        Raises NotADirectoryError, or OSError (ELOOP).
        """
        done = [part for part in folder.split("/") if part]
        todo = path.split("/")[::-1]
        links = 0
        if path.startswith("/"):
            done.clear()
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                del done[-1:]
                continue
            target = self._step("/".join(done), part)
            if target is None:
                done.append(part)
                continue
            links += 1
            if links > MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                done.clear()
            todo.extend(target.split("/")[::-1])
        return "/".join(done)

    def _step(self, folder: str, part: str) -> str | None:
        """A link's text; None for what is a directory or could become one."""
        found = self.entry(folder, part)
        if found is None or found.is_directory:
            return None
        if not found.is_link:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), found.path)
        return os.readlink(f"{found.layer}/{found.path}")

    def _parts(self, folder: str) -> tuple[int, ...]:
        """Numbers of the layers whose ``folder`` is part of the merged directory."""
        known = self._merged.get(folder)
        if known is None:
            known = self._merged[folder] = tuple(self._find_parts(folder))
        return known

    def _find_parts(self, folder: str) -> list[int]:
        parts = []
        parents = self._parts(folder.rpartition("/")[0]) if folder else range(len(self._layers))
        for number in parents:
            path = f"{self._layers[number]}/{folder}"
            seen = _lstat(path)
            if seen is None:
                continue
            if not stat.S_ISDIR(seen.st_mode):
                # A whiteout, or a file that hides the directories below it.
                break
            parts.append(number)
            if _is_opaque(path):
                break
        return parts


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _is_opaque(path: str) -> bool:
    try:
        return os.getxattr(path, OPAQUE_XATTR, follow_symlinks=False) == b"y"
    except OSError:
        return False
