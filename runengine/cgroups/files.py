"""Reading control files: small, many, and gone at any moment."""

from __future__ import annotations

import os

_READ_SIZE = 16 << 10


def text(path: str) -> str | None:
    """The file's text; None where there is none, or none any more.

    By descriptor: a file object asks the kernel four further questions each time.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.read(fd, _READ_SIZE)
        while data and (more := os.read(fd, _READ_SIZE)):
            data += more
    except OSError:
        return None
    finally:
        os.close(fd)
    return data.decode("ascii", "replace")


def number(path: str) -> int | None:
    """The file's number; None for ``max`` and where there is no such file."""
    found = (text(path) or "").strip()
    return int(found) if found.isdigit() else None


def fields(path: str) -> dict[str, int]:
    """A flat-keyed file: one ``name value`` a line."""
    found = {}
    for line in (text(path) or "").splitlines():
        name, _, value = line.partition(" ")
        if value.isdigit():
            found[name] = int(value)
    return found
