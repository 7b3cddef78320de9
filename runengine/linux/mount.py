"""Mounts: flags, what is mounted where, and unmounting that never deletes through a mount."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from runengine.linux import libc

if TYPE_CHECKING:
    from collections.abc import Iterator

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20

MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8


class MountInfo(NamedTuple):
    """One line of /proc/self/mountinfo (proc_pid_mountinfo(5))."""

    mount_id: int
    parent_id: int
    device: str
    root: str
    target: str
    options: str
    propagation: tuple[str, ...]
    fstype: str
    source: str
    super_options: str


def parse_mountinfo(text: str) -> Iterator[MountInfo]:
    """Parse mountinfo lines, octal escapes undone; lines that do not parse are passed over."""
    for line in text.split("\n"):
        left, separator, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if not separator or len(fields) < 6 or len(tail) < 3:
            continue
        yield MountInfo(
            int(fields[0]),
            int(fields[1]),
            fields[2],
            _unescape(fields[3]),
            _unescape(fields[4]),
            fields[5],
            tuple(fields[6:]),
            tail[0],
            _unescape(tail[1]),
            tail[2],
        )


_ESCAPES = {" ": "\\040", "\t": "\\011", "\n": "\\012", "#": "\\043", "\\": "\\134"}
_ESCAPED_IN_PATHS = str.maketrans({char: _ESCAPES[char] for char in " \t\n\\"})
"""A ``#`` is written otherwise in a source alone."""


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    for char, code in _ESCAPES.items():  # the backslash last, as it begins the others
        text = text.replace(code, char)
    return text


def mounts() -> list[MountInfo]:
    """Every mount of this mount namespace, in order."""
    return list(parse_mountinfo(_mountinfo()))


def _mountinfo() -> str:
    # No other end of a line than the kernel's: the rest may be in a name.
    with open(
        "/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape", newline="\n"
    ) as file:
        return file.read()


def is_mounted(target: str) -> bool:
    """Whether ``target`` (absolute, no links in it) is a mount point."""
    text = _mountinfo()
    # Each container is some lines: most often none has to be parsed.
    if f" {target.translate(_ESCAPED_IN_PATHS)} " not in text:
        return False
    return any(entry.target == target for entry in parse_mountinfo(text))


def unmount(target: str, *, attempts: int = 20) -> bool:
    """Unmount ``target``; True if it was mounted.

    A mount that is busy for a moment (a process on its way out) is tried again for a second in
    all, then detached lazily: it vanishes with its last user. Raises OSError for anything else.
    """
    for attempt in range(attempts):
        try:
            libc.umount(target, UMOUNT_NOFOLLOW)
            return True
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return False
            if error.errno != errno.EBUSY:
                raise
            if attempt + 1 < attempts:
                _pause(attempt)
    libc.umount(target, UMOUNT_NOFOLLOW | MNT_DETACH)
    return True


def _pause(attempt: int) -> None:
    import time

    time.sleep(min(0.1, 0.002 * 2**attempt))


def holders(target: str) -> list[int]:
    """Pids whose mount table still has ``target``: who keeps a busy mount alive."""
    needle = f" {target} ".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/mountinfo", "rb") as file:
                    if needle in file.read():
                        found.append(int(name))
            except OSError:
                continue
    return found
