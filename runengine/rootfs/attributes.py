"""Owners, modes, extended attributes and times of files, set in the order that keeps them all."""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple, Protocol

from runengine.rootfs.overlay import OPAQUE_XATTR

_OVERLAY = "trusted.overlay."
_HOST_ONLY = frozenset({"security.selinux", "system.nfs4_acl"})
"""Labels that mean something on the host they come from only."""
_MAX_TIME_NS = 1 << 62
_UNSUPPORTED = (errno.ENOTSUP, errno.EOPNOTSUPP)
_NONE: dict[str, bytes] = {}


class Look(Protocol):
    """What a file is besides its content."""

    @property
    def mode(self) -> int:
        """Access rights, set-id and sticky bits."""
        ...

    @property
    def uid(self) -> int:
        """Owner."""
        ...

    @property
    def gid(self) -> int:
        """Group."""
        ...

    @property
    def mtime_ns(self) -> int:
        """Modification time in ns since 1970."""
        ...

    @property
    def xattrs(self) -> dict[str, bytes]:
        """Extended attributes."""
        ...


class Attributes(NamedTuple):
    """A look to keep."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: dict[str, bytes]


IMPLICIT = Attributes(0o755, 0, 0, 0, {})
"""Of a directory that a layer needs but does not list, where no layer below has it either."""


def apply_fd(fd: int, wanted: Look) -> os.stat_result:
    """Set the attributes of an open file or directory; returns its inode, as far as blocks go.

    chown(2) drops set-user-id bits and capabilities, so it comes first; the times come last.
    """
    seen = os.fstat(fd)
    mode = wanted.mode & 0o7777
    if (seen.st_uid, seen.st_gid) != (wanted.uid, wanted.gid):
        os.fchown(fd, wanted.uid, wanted.gid)
        os.fchmod(fd, mode)
    elif stat.S_IMODE(seen.st_mode) != mode:
        os.fchmod(fd, mode)
    if wanted.xattrs:
        set_xattrs(fd, wanted.xattrs)
        seen = os.fstat(fd)  # they may have taken a block
    os.utime(fd, ns=times(wanted.mtime_ns))
    return seen


def apply_at(dir_fd: int, name: str, wanted: Look, *, link: bool) -> None:
    """Set the attributes of something that cannot be opened: a link, a device, a fifo."""
    os.chown(name, wanted.uid, wanted.gid, dir_fd=dir_fd, follow_symlinks=False)
    if not link:
        os.chmod(name, wanted.mode & 0o7777, dir_fd=dir_fd)
    for key, value in wanted.xattrs.items():
        # The kernel keeps user.* for files and directories (xattr(7)).
        if not key.startswith("user."):
            _set_xattr(f"/proc/self/fd/{dir_fd}/{name}", key, value)
    stamp = times(wanted.mtime_ns)
    os.utime(name, ns=stamp, dir_fd=dir_fd, follow_symlinks=False)


def set_xattrs(fd: int, xattrs: dict[str, bytes]) -> None:
    """Set extended attributes of an open file."""
    for key, value in xattrs.items():
        _set_xattr(fd, key, value)


def _set_xattr(target: int | str, key: str, value: bytes) -> None:
    # What steers overlay mounts is never taken from an archive.
    if key.startswith(_OVERLAY) or key in _HOST_ONLY:
        return
    try:
        if isinstance(target, int):
            os.setxattr(target, key, value)
        else:
            os.setxattr(target, key, value, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise OSError(error.errno, f"attribute {key}: {error.strerror}") from error


def times(mtime_ns: int) -> tuple[int, int]:
    """Access and modification time; one that no filesystem can hold becomes the epoch."""
    if not -_MAX_TIME_NS < mtime_ns < _MAX_TIME_NS:
        mtime_ns = 0
    return mtime_ns, mtime_ns


def read_fd(fd: int) -> Attributes:
    """The attributes of an open directory (or of an O_PATH descriptor), without overlay's own."""
    seen = os.fstat(fd)
    path = f"/proc/self/fd/{fd}"
    xattrs = {
        key: os.getxattr(path, key) for key in os.listxattr(path) if not key.startswith(_OVERLAY)
    }
    return Attributes(
        stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid, seen.st_mtime_ns, xattrs
    )


def read_xattrs(target: int | str) -> dict[str, bytes]:
    """Extended attributes to put into an archive: no link is followed.

    Left out is what steers overlay mounts and what means something on this host only.
    """
    follow = {} if isinstance(target, int) else {"follow_symlinks": False}
    try:
        names = os.listxattr(target, **follow)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return _NONE
        raise
    if not names:
        return _NONE
    return {
        name: os.getxattr(target, name, **follow)
        for name in names
        if not name.startswith(_OVERLAY) and name not in _HOST_ONLY
    }


def mark_opaque(fd: int) -> None:
    """Let the directory hide what the layers below have in it."""
    os.setxattr(f"/proc/self/fd/{fd}", OPAQUE_XATTR, b"y")


def is_opaque(fd: int) -> bool:
    """Whether the directory hides what the layers below have in it."""
    try:
        return os.getxattr(f"/proc/self/fd/{fd}", OPAQUE_XATTR) == b"y"
    except OSError:
        return False


def is_whiteout(seen: os.stat_result) -> bool:
    """Whether it stands for the absence of what a layer below has (overlayfs.rst)."""
    return stat.S_ISCHR(seen.st_mode) and seen.st_rdev == 0
