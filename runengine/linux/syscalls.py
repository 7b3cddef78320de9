"""Which of the newer system calls this kernel has."""

from __future__ import annotations

import ctypes
import errno

from runengine.linux import libc

# The numbers that all architectures share (the unified table).
PIDFD_SEND_SIGNAL = 424
PIDFD_OPEN = 434
CLONE3 = 435
CLOSE_RANGE = 436


def is_there(number: int) -> bool:
    """Whether the kernel has the system call, asked in a way that it must refuse.

    No call has a use for -1 as its first argument and nothing behind it: no process, no
    descriptor and no address is -1, and no structure has the size 0.
    """
    try:
        nothing = ctypes.c_long(0)
        libc.syscall("probe", number, ctypes.c_long(-1), nothing, nothing, nothing, nothing)
    except OSError as error:
        return error.errno != errno.ENOSYS
    return True
