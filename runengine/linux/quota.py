"""Project quotas: which project a file belongs to, and what a project may use.

Sources: quotactl(2), the kernel's uapi headers linux/quota.h and linux/fs.h (struct fsxattr). The
commands are the generic ones, which ext4 and xfs both know. Every function raises OSError.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import struct
from typing import NamedTuple

from runengine.linux import libc

_GET_ATTRIBUTES, _SET_ATTRIBUTES = 0x801C581F, 0x401C5820
_ATTRIBUTES = struct.Struct("5I8x")  # flags, two extent hints, project, copy-on-write hint
_INHERIT = 0x200
_GET, _SET, _GET_NEXT = 0x800007, 0x800008, 0x800009
_PROJECT_QUOTA = 2
_UNIT = 1024
_BOTH_LIMITS = 1 | 4
LAST_ID = (1 << 32) - 2


class _Record(ctypes.Structure):
    """``struct if_nextdqblk``, which begins as ``struct if_dqblk`` does."""

    _fields_ = (
        ("hard_units", ctypes.c_uint64),
        ("soft_units", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("hard_inodes", ctypes.c_uint64),
        ("soft_inodes", ctypes.c_uint64),
        ("inodes", ctypes.c_uint64),
        ("time", ctypes.c_uint64),
        ("inode_time", ctypes.c_uint64),
        ("valid", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
    )


class Account(NamedTuple):
    """A project's limits, 0 for none, and what it uses."""

    limit_bytes: int
    limit_inodes: int
    used_bytes: int
    used_inodes: int


def project_of(fd: int) -> int:
    """The project that a file or directory belongs to; 0 is nobody's."""
    buffer = bytearray(_ATTRIBUTES.size)
    fcntl.ioctl(fd, _GET_ATTRIBUTES, buffer)
    return int(_ATTRIBUTES.unpack(buffer)[3])


def set_project(fd: int, project: int, *, directory: bool) -> None:
    """Make a file or directory a project's; what is made in a directory is then, too."""
    buffer = bytearray(_ATTRIBUTES.size)
    fcntl.ioctl(fd, _GET_ATTRIBUTES, buffer)
    flags, extent, extents, _, copy = _ATTRIBUTES.unpack(buffer)
    if directory:
        flags = flags | _INHERIT if project else flags & ~_INHERIT
    fcntl.ioctl(fd, _SET_ATTRIBUTES, _ATTRIBUTES.pack(flags, extent, extents, project, copy))


def set_limits(fd: int, project: int, limit_bytes: int, limit_inodes: int) -> None:
    """Limit a project on the filesystem that ``fd`` is on; 0 is no limit."""
    units = -(-limit_bytes // _UNIT)
    record = _Record(hard_units=units, hard_inodes=limit_inodes, valid=_BOTH_LIMITS)
    _quotactl(fd, _SET, project, record)


def account(fd: int, project: int) -> Account:
    """A project's account; ESRCH if the filesystem keeps none for projects."""
    record = _Record()
    try:
        _quotactl(fd, _GET, project, record)
    except OSError as error:
        if error.errno != errno.ENOENT:  # that is xfs's word for a project it has never seen
            raise
    return Account(record.hard_units * _UNIT, record.hard_inodes, record.bytes, record.inodes)


def first_used(fd: int, start: int) -> int | None:
    """The first project from ``start`` on that has files or a limit; None if there is none."""
    record = _Record()
    try:
        _quotactl(fd, _GET_NEXT, start, record)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return int(record.id)


def _quotactl(fd: int, command: int, project: int, record: _Record) -> None:
    libc.syscall(
        "quotactl_fd",
        libc.SYS_QUOTACTL_FD,
        ctypes.c_uint(fd),
        ctypes.c_uint(command << 8 | _PROJECT_QUOTA),
        ctypes.c_uint(project),
        ctypes.byref(record),
    )
