"""Names of interfaces, as the kernel takes them (net/core/dev.c, dev_valid_name)."""

from __future__ import annotations

import os

from runengine.errors import InvalidParameter

MAX_BYTES = 15
"""IFNAMSIZ without the final zero."""


def check(name: str) -> None:
    """Raise InvalidParameter unless an interface can have the name."""
    reason = _fault(name)
    if reason:
        raise InvalidParameter(f"invalid interface name {name!r}: {reason}")


def _fault(name: str) -> str:
    if not name:
        return "it is empty"
    if len(os.fsencode(name)) > MAX_BYTES:
        return f"it is longer than {MAX_BYTES} bytes"
    if name in (".", ".."):
        return "it means a directory"
    wrong = next((char for char in name if char in "/:%" or char.isspace() or char == "\0"), None)
    return f"it contains {wrong!r}" if wrong else ""
