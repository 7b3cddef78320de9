"""Files that are namespaces (ioctl_ns(2))."""

from __future__ import annotations

import fcntl
import os

_NS_GET_NSTYPE = 0xB703
_CLONE_NEWNET = 0x40000000


def is_network(path: str) -> bool:
    """Whether the file is a network namespace. Another kind of file, or none, is not."""
    try:
        # Without waiting: it may be a fifo that nobody writes to.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return fcntl.ioctl(fd, _NS_GET_NSTYPE) == _CLONE_NEWNET
    except OSError:
        return False
    finally:
        os.close(fd)
