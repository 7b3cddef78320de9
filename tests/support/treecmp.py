"""Trees as manifests that can be compared: everything about every file that a layer can say."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_IGNORED_XATTRS = ("trusted.overlay.", "security.selinux")


class Entry(NamedTuple):
    """One name in a tree."""

    kind: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    device: tuple[int, int]
    target: bytes
    content: str
    xattrs: tuple[tuple[str, bytes], ...]
    names: tuple[bytes, ...]
    """Every name of this inode in the tree, sorted."""


def manifest(root: str | os.PathLike[str], *, overlay: bool = False) -> dict[bytes, Entry]:
    """Every name below ``root`` (b'' for itself); overlay's own attributes only if asked for."""
    found: dict[bytes, tuple[bytes, os.stat_result]] = {}
    names: dict[tuple[int, int], list[bytes]] = {}
    top = os.fsencode(root)
    todo = [b""]
    while todo:
        name = todo.pop()
        path = os.path.join(top, name) if name else top
        seen = os.lstat(path)
        found[name] = (path, seen)
        names.setdefault((seen.st_dev, seen.st_ino), []).append(name)
        if stat.S_ISDIR(seen.st_mode):
            todo += [os.path.join(name, child) for child in os.listdir(path)]
    return {
        name: _entry(path, seen, names[seen.st_dev, seen.st_ino], overlay=overlay)
        for name, (path, seen) in sorted(found.items())
    }


def _entry(
    path: bytes, seen: os.stat_result, names: Iterable[bytes], *, overlay: bool
) -> Entry:
    kind = stat.S_IFMT(seen.st_mode)
    is_directory = stat.S_ISDIR(seen.st_mode)
    return Entry(
        kind=kind,
        mode=0 if stat.S_ISLNK(seen.st_mode) else stat.S_IMODE(seen.st_mode),
        uid=seen.st_uid,
        gid=seen.st_gid,
        size=0 if is_directory else seen.st_size,
        mtime_ns=seen.st_mtime_ns,
        device=(os.major(seen.st_rdev), os.minor(seen.st_rdev)),
        target=os.readlink(path) if stat.S_ISLNK(seen.st_mode) else b"",
        content=_hash(path) if stat.S_ISREG(seen.st_mode) else "",
        xattrs=tuple(_xattrs(path, overlay=overlay)),
        names=() if is_directory else tuple(sorted(names)),
    )


def _hash(path: bytes) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _xattrs(path: bytes, *, overlay: bool) -> list[tuple[str, bytes]]:
    return [
        (name, os.getxattr(path, name, follow_symlinks=False))
        for name in sorted(os.listxattr(path, follow_symlinks=False))
        if overlay or not name.startswith(_IGNORED_XATTRS)
    ]


def differences(ours: dict[bytes, Entry], theirs: dict[bytes, Entry]) -> list[str]:
    """What differs, one line each; nothing if the trees are the same."""
    lines = []
    for name in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(name), theirs.get(name)
        if mine is None or other is None:
            lines.append(f"{name!r}: only in {'the second' if mine is None else 'the first'}")
            continue
        lines += [
            f"{name!r}: {field} is {getattr(mine, field)!r}, not {getattr(other, field)!r}"
            for field in Entry._fields
            if getattr(mine, field) != getattr(other, field)
        ]
    return lines
