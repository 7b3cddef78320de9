"""System calls that Python 3.11 lacks, by ctypes. Each raises OSError with the errno."""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False  # Not from typing: the monitor loads this module and stays small.
if TYPE_CHECKING:
    from typing import Any

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
RENAME_EXCHANGE = 2

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long

# x86-64 and arm64 share the numbers above 424 (the unified table).
SYS_OPEN_TREE = 428
SYS_MOVE_MOUNT = 429
SYS_FSOPEN = 430
SYS_FSCONFIG = 431
SYS_FSMOUNT = 432
SYS_OPENAT2 = 437
SYS_MOUNT_SETATTR = 442
SYS_QUOTACTL_FD = 443


def syscall(name: str, number: int, *args: Any) -> int:
    """Call ``number``; on failure raise OSError whose text names the call."""
    result = int(_syscall(ctypes.c_long(number), *args))
    if result < 0:
        raise _oserror(name)
    return result


def _oserror(name: str, path: str | None = None) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{name}: {os.strerror(code)}", path)


def mount(source: str, target: str, fstype: str | None, flags: int, data: str | None) -> None:
    """mount(2)."""
    if _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        fstype.encode() if fstype else None,
        ctypes.c_ulong(flags),
        os.fsencode(data) if data else None,
    ):
        raise _oserror("mount", target)


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    if _libc.umount2(os.fsencode(target), ctypes.c_int(flags)):
        raise _oserror("umount", target)


def unshare(flags: int) -> None:
    """unshare(2); of the calling thread."""
    if _libc.unshare(ctypes.c_int(flags)):
        raise _oserror("unshare")


def setns(fd: int, kind: int) -> None:
    """setns(2); of the calling thread. ``kind`` is the CLONE_NEW… of what ``fd`` must be."""
    if _libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)):
        raise _oserror("setns")


def syncfs(fd: int) -> None:
    """syncfs(2): write out the filesystem that the file is on."""
    if _libc.syncfs(ctypes.c_int(fd)):
        raise _oserror("syncfs")


def exchange(one: str, other: str) -> None:
    """renameat2(2): let two names change places at once; each may be a file or a directory."""
    if _libc.renameat2(
        AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), ctypes.c_uint(RENAME_EXCHANGE)
    ):
        raise _oserror("renameat2", one)


def fstatfs(fd: int, buffer: ctypes.Array[ctypes.c_char]) -> None:
    """fstatfs(2) into a buffer that is large enough."""
    if _libc.fstatfs(ctypes.c_int(fd), buffer):
        raise _oserror("fstatfs")


def malloc_trim() -> None:
    """malloc_trim(3): give the kernel back what is free; nothing where the C library has none."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)


class OpenHow(ctypes.Structure):
    """``struct open_how`` of openat2(2)."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10


def openat2(dir_fd: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2); always close-on-exec. EAGAIN (a racing rename) is retried a few times."""
    how = OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    for attempt in range(16):
        try:
            return syscall(
                "openat2",
                SYS_OPENAT2,
                ctypes.c_int(dir_fd),
                ctypes.c_char_p(os.fsencode(path)),
                ctypes.byref(how),
                ctypes.c_size_t(ctypes.sizeof(how)),
            )
        except BlockingIOError:
            if attempt == 15:
                raise
    raise AssertionError("unreachable")
