"""File systems that the kernel makes up: what is in them is no data (statfs(2), magic.h)."""

from __future__ import annotations

import ctypes
import sys

from runengine.linux import libc

_MADE_UP = frozenset(
    {
        0x9FA0,  # proc
        0x62656572,  # sysfs
        0x27E0EB,  # cgroup
        0x63677270,  # cgroup2
        0x1CD1,  # devpts
        0x19800202,  # mqueue
        0x64626720,  # debugfs
        0x74726163,  # tracefs
        0x73636673,  # securityfs
        0xCAFE4A11,  # bpf
        0x6165676C,  # pstore
        0xDE5E81E4,  # efivarfs
        0x62656570,  # configfs
        0x42494E4D,  # binfmt_misc
        0xF97CFF8C,  # selinux
    }
)
_BUFFER_BYTES = 256
"""More than ``struct statfs`` of any architecture; the type is its first word."""


def is_made_up(fd: int) -> bool:
    """Whether the open directory is on such a file system. Raises OSError."""
    buffer = ctypes.create_string_buffer(_BUFFER_BYTES)
    libc.fstatfs(fd, buffer)
    kind = int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder)
    return kind & 0xFFFFFFFF in _MADE_UP
