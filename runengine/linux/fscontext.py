"""The mount API of file descriptors (fsopen(2), fsconfig(2), fsmount(2), move_mount(2)).

Unlike mount(2) it takes options one by one, so their length has no limit, and it says what it
did not like. Every function raises OSError.
"""

from __future__ import annotations

import ctypes
import os

from runengine.linux import libc

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_IDMAP = 0x100000

_CLOEXEC = 1
_SET_STRING, _SET_FD, _CREATE = 1, 5, 6
_MOVE_EMPTY_PATH = 0x04
_MOVE_TO_EMPTY_PATH = 0x40
_OPEN_TREE_CLONE = 0x1
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


def clone_tree(path: str, *, recursive: bool = False) -> int:
    """A copy of the mount at ``path``, from there on, attached nowhere (open_tree(2))."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (libc.AT_RECURSIVE if recursive else 0)
    return libc.syscall(
        "open_tree",
        libc.SYS_OPEN_TREE,
        ctypes.c_int(libc.AT_FDCWD),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.c_uint(flags),
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


def attach_to(mount_fd: int, target_fd: int) -> None:
    """Put a detached mount on the file or directory that is open as ``target_fd``."""
    libc.syscall(
        "move_mount",
        libc.SYS_MOVE_MOUNT,
        ctypes.c_int(mount_fd),
        ctypes.c_char_p(b""),
        ctypes.c_int(target_fd),
        ctypes.c_char_p(b""),
        ctypes.c_uint(_MOVE_EMPTY_PATH | _MOVE_TO_EMPTY_PATH),
    )


def set_propagation(mount_fd: int, propagation: int, *, recursive: bool = False) -> None:
    """Set MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE on one mount (mount_setattr(2))."""
    flags = libc.AT_RECURSIVE if recursive else 0
    _set_attributes(mount_fd, _MountAttributes(propagation=propagation), flags)


def set_idmap(mount_fd: int, userns_fd: int, *, recursive: bool = False) -> None:
    """Show the owners of files as the user namespace maps them; of a detached mount only.

    EINVAL if the filesystem cannot.
    """
    attributes = _MountAttributes(attr_set=MOUNT_ATTR_IDMAP, userns_fd=userns_fd)
    _set_attributes(mount_fd, attributes, libc.AT_RECURSIVE if recursive else 0)


def set_attributes(mount_fd: int, attributes: int, *, recursive: bool = False) -> None:
    """Set MOUNT_ATTR_… on a mount, or on all from there on."""
    flags = libc.AT_RECURSIVE if recursive else 0
    _set_attributes(mount_fd, _MountAttributes(attr_set=attributes), flags)


def _set_attributes(mount_fd: int, attributes: _MountAttributes, flags: int = 0) -> None:
    libc.syscall(
        "mount_setattr",
        libc.SYS_MOUNT_SETATTR,
        ctypes.c_int(mount_fd),
        ctypes.c_char_p(b""),
        ctypes.c_uint(libc.AT_EMPTY_PATH | flags),
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
