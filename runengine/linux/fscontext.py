"""The mount API of file descriptors (fsopen(2), fsconfig(2), fsmount(2), move_mount(2)).

Unlike mount(2) it takes options one by one, so their length has no limit, and it says what it
did not like. Every function raises OSError.
"""

from __future__ import annotations

import ctypes
import os

from runengine.linux import libc

MOUNT_ATTR_RDONLY = 0x01

_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _SET_FD, _CREATE = 0, 1, 5, 6
_MOVE_EMPTY_PATH = 0x04
MAX_STRING = 255
"""Bytes of a string parameter that the kernel takes (fs/fsopen.c)."""


class _MountAttributes(ctypes.Structure):
    """``struct mount_attr`` of mount_setattr(2)."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def fsopen(fstype: str) -> int:
    """Begin to configure a filesystem; ENODEV if the kernel has none of that type."""
    return libc.syscall(
        "fsopen", libc.SYS_FSOPEN, ctypes.c_char_p(fstype.encode()), ctypes.c_uint(_CLOEXEC)
    )


def set_string(fd: int, key: str, value: str) -> None:
    """Set a parameter; EINVAL if the filesystem does not know it."""
    _fsconfig(fd, _SET_STRING, key, os.fsencode(value), 0)


def set_flag(fd: int, key: str) -> None:
    """Set a parameter that has no value."""
    _fsconfig(fd, _SET_FLAG, key, None, 0)


def set_fd(fd: int, key: str, value: int) -> None:
    """Set a parameter to an open file."""
    _fsconfig(fd, _SET_FD, key, None, value)


def create(fd: int) -> None:
    """Make the filesystem as configured."""
    _fsconfig(fd, _CREATE, None, None, 0)


def _fsconfig(fd: int, command: int, key: str | None, value: bytes | None, aux: int) -> None:
    libc.syscall(
        "fsconfig",
        libc.SYS_FSCONFIG,
        ctypes.c_int(fd),
        ctypes.c_uint(command),
        ctypes.c_char_p(key.encode() if key else None),
        ctypes.c_char_p(value),
        ctypes.c_int(aux),
    )


def fsmount(fd: int, attributes: int = 0) -> int:
    """A mount of the filesystem, attached nowhere; it goes with its descriptor."""
    return libc.syscall(
        "fsmount",
        libc.SYS_FSMOUNT,
        ctypes.c_int(fd),
        ctypes.c_uint(_CLOEXEC),
        ctypes.c_uint(attributes),
    )


def attach(mount_fd: int, target: str) -> None:
    """Put a detached mount at ``target``, which is not followed if it is a link."""
    libc.syscall(
        "move_mount",
        libc.SYS_MOVE_MOUNT,
        ctypes.c_int(mount_fd),
        ctypes.c_char_p(b""),
        ctypes.c_int(libc.AT_FDCWD),
        ctypes.c_char_p(os.fsencode(target)),
        ctypes.c_uint(_MOVE_EMPTY_PATH),
    )


def set_propagation(mount_fd: int, propagation: int) -> None:
    """Set MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE on one mount (mount_setattr(2))."""
    attributes = _MountAttributes(propagation=propagation)
    libc.syscall(
        "mount_setattr",
        libc.SYS_MOUNT_SETATTR,
        ctypes.c_int(mount_fd),
        ctypes.c_char_p(b""),
        ctypes.c_uint(libc.AT_EMPTY_PATH),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )


def messages(fd: int) -> str:
    """What the kernel had to say about the configuration so far, on one line."""
    lines: list[str] = []
    while True:
        try:
            line = os.read(fd, 4096)
        except OSError:
            return "; ".join(lines)
        # Each begins with its level and a space: 'e overlay: ...'.
        lines.append(line.decode(errors="replace").strip()[2:])
