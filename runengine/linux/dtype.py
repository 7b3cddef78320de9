"""Whether a filesystem's directories tell what kind each entry is (readdir(3), d_type)."""

from __future__ import annotations

import ctypes
import os

from runengine.linux import libc

_GETDENTS64 = {"x86_64": 217, "aarch64": 61, "riscv64": 61, "loongarch64": 61}
_TYPE_OFFSET = 18
"""``struct linux_dirent64`` of getdents64(2): inode, offset, length, then the type."""
_BUFFER_BYTES = 4096


def tells_types(directory: str) -> bool:
    """Whether the first entry, which every directory has, says what it is.

    Raises OSError; NotImplementedError on an architecture whose call has an unknown number.
    """
    number = _GETDENTS64.get(os.uname().machine)
    if number is None:
        raise NotImplementedError(f"the number of getdents64 on {os.uname().machine} is unknown")
    buffer = ctypes.create_string_buffer(_BUFFER_BYTES)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        size = ctypes.c_size_t(_BUFFER_BYTES)
        libc.syscall("getdents64", number, ctypes.c_int(fd), buffer, size)
    finally:
        os.close(fd)
    return buffer.raw[_TYPE_OFFSET] != 0
