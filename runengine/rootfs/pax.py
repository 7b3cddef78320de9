"""Extended headers: records of text that override a header's fields (POSIX.1-2017, pax)."""

from __future__ import annotations

import base64
import os
import re
from array import array
from urllib.parse import unquote_to_bytes

MAX_BYTES = 1 << 20
"""Length of one extended header, or of one long name; Go's reader has the same bound."""
_NUMBER = re.compile(rb"-?[0-9]{1,20}")
_TIME = re.compile(rb"(-?)([0-9]{1,20})(?:\.([0-9]*))?")
_SCHILY = "SCHILY.xattr."
_LIBARCHIVE = "LIBARCHIVE.xattr."


class Records:
    """The records that hold for one member: its own over those of the whole archive.

    An empty value takes back what the whole archive says. Methods raise ValueError.
    """

    def __init__(self, values: dict[str, bytes], *parts: array[int]) -> None:
        self.values = values
        self.sparse_parts = parts[0] if parts else array("q")

    def text(self, key: str, default: str) -> str:
        """A file name."""
        value = self.values.get(key)
        return os.fsdecode(value) if value else default

    def number(self, key: str, default: int) -> int:
        """A decimal number."""
        value = self.values.get(key)
        if not value:
            return default
        if not _NUMBER.fullmatch(value):
            raise ValueError(f"{key} is not a number")
        return int(value)

    def time_ns(self, key: str, default: int) -> int:
        """A time in seconds with any number of decimals, as ns; what is finer is cut off."""
        value = self.values.get(key)
        if not value:
            return default
        match = _TIME.fullmatch(value)
        if match is None:
            raise ValueError(f"{key} is not a time")
        sign, seconds, fraction = match.groups()
        total = int(seconds) * 1_000_000_000 + int((fraction or b"")[:9].ljust(9, b"0"))
        return -total if sign else total

    def xattrs(self) -> dict[str, bytes]:
        """Extended attributes, from either way to write them."""
        found: dict[str, bytes] = {}
        for key, value in self.values.items():
            if key.startswith(_LIBARCHIVE):
                name = os.fsdecode(unquote_to_bytes(key[len(_LIBARCHIVE) :].encode()))
                found.setdefault(name, _base64(value))
            elif key.startswith(_SCHILY):
                found[key[len(_SCHILY) :]] = value
        return found


def _base64(value: bytes) -> bytes:
    # libarchive leaves out the padding.
    return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)


def parse(data: bytes, inherited: dict[str, bytes]) -> Records:
    """Read the records of an extended header. Raises ValueError if one is malformed."""
    values = dict(inherited)
    parts = array("q")
    position = 0
    while position < len(data):
        key, value, position = _record(data, position)
        # The oldest sparse format repeats these two keys, once for each segment.
        if key in ("GNU.sparse.offset", "GNU.sparse.numbytes"):
            if (len(parts) % 2 == 0) != (key == "GNU.sparse.offset"):
                raise ValueError("a malformed sparse map")
            parts.append(decimal(value))
        else:
            values[key] = value
    return Records(values, parts)


def _record(data: bytes, position: int) -> tuple[str, bytes, int]:
    space = data.find(b" ", position, position + 10)
    digits = data[position:space]
    if space < 0 or not digits.isdigit():
        raise ValueError("a record without a length")
    end = position + int(digits)
    if end <= space or end > len(data) or data[end - 1] != 0x0A:
        raise ValueError("a record whose length is wrong")
    key, equals, value = data[space + 1 : end - 1].partition(b"=")
    if not key or not equals:
        raise ValueError("a record without a key")
    return os.fsdecode(key), value, end


def decimal(value: bytes) -> int:
    """A number of digits only, that fits in 63 bits. Raises ValueError."""
    if not value.isdigit() or len(value) > 19 or int(value) >= 1 << 63:
        raise ValueError(f"{value[:32]!r} is not a length")
    return int(value)
