"""Files that operators and other programs put into directories for the engine to read."""

from __future__ import annotations

import os
import stat

from runengine.errors import InvalidParameter


def content(path: str, what: str, limit_bytes: int) -> bytes:
    """The bytes of a regular file; ``what`` names its kind. Raises InvalidParameter."""
    try:
        # A fifo must not hold the start up.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise InvalidParameter(f"{what} {path}: not a regular file")
            data = file.read(limit_bytes + 1)
    except OSError as error:
        raise InvalidParameter(f"{what} {path}: {error.strerror}") from None
    if len(data) > limit_bytes:
        raise InvalidParameter(f"{what} {path}: larger than {limit_bytes} bytes")
    return data
