"""Members of a layer's archive: ustar, GNU and pax headers, read strictly and quickly.

Sources: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual,
"Basic Tar Format" and "Sparse Formats"; star(5). The base class reads all this too, but takes
malformed numbers, has no bounds on what it keeps in memory and costs several times as much.
"""

from __future__ import annotations

import os
import struct
import tarfile
import zlib
from array import array
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runengine.rootfs import pax

BLOCK = tarfile.BLOCKSIZE
MAX_SPARSE_ENTRIES = 1 << 20
"""Segments of one sparse file; its map is the one thing kept in memory (16 bytes each)."""
MAX_SIZE = (1 << 63) - 1

LINK_TYPES = frozenset({tarfile.LNKTYPE, tarfile.SYMTYPE})
DEVICE_TYPES = frozenset({tarfile.CHRTYPE, tarfile.BLKTYPE})
_FILE_TYPES = frozenset(
    {tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE}
)
# name mode uid gid size mtime checksum type linkname magic uname gname major minor prefix
_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s64x8s8s155s12x")
_ZEROS = bytes(BLOCK)
_CHECKSUM = slice(148, 156)
_BASE256 = 0x80
_NSEC = 1_000_000_000
_NO_XATTRS: dict[str, bytes] = {}


class Member(tarfile.TarInfo):
    """One member. ``name`` and ``linkname`` are file names as the archive has them (os.fsdecode).

    ``size`` is the file's length, ``stored`` the bytes that follow in the archive, ``segments``
    where they go, if the file is sparse: offset, length, offset, length, ...
    """

    __slots__ = ("mtime_ns", "segments", "stored", "xattrs")

    stored: int
    segments: array[int] | None
    mtime_ns: int
    xattrs: dict[str, bytes]

    @classmethod
    def parse(cls, block: bytes) -> Member:
        """The member that a header block describes, before extended headers.

        Raises ValueError if it is malformed.
        """
        fields = _FIELDS.unpack(block)
        _verify(block, number(fields[6]))
        self = cls()
        self.type = kind = fields[7]
        self.name = _text(fields[0])
        self.mode = number(fields[1])
        self.uid = number(fields[2])
        self.gid = number(fields[3])
        self.size = self.stored = number(fields[4])
        self.mtime_ns = number(fields[5]) * _NSEC
        self.xattrs = _NO_XATTRS
        self.segments = None
        if kind in LINK_TYPES:
            self.linkname = _text(fields[8])
        elif kind in DEVICE_TYPES:
            self.devmajor, self.devminor = number(fields[10]), number(fields[11])
        if fields[9].startswith(b"ustar\0") and fields[12][0]:
            self._prepend(fields[12], star=block[508:] == b"tar\0")
        if kind == tarfile.AREGTYPE and self.name.endswith("/"):
            # Before ustar, directories were regular files with a slash.
            self.type = tarfile.DIRTYPE
        return self

    def _prepend(self, prefix: bytes, *, star: bool) -> None:
        # star keeps two times in the end of the field.
        text = _text(prefix[:131] if star else prefix)
        if text:
            self.name = f"{text}/{self.name}"

    def apply(self, records: pax.Records) -> None:
        """Let extended header records override. Raises ValueError if one is malformed."""
        self.name = records.text("path", self.name)
        self.linkname = records.text("linkpath", self.linkname)
        self.uid = records.number("uid", self.uid)
        self.gid = records.number("gid", self.gid)
        self.size = self.stored = records.number("size", self.size)
        self.devmajor = records.number("SCHILY.devmajor", self.devmajor)
        self.devminor = records.number("SCHILY.devminor", self.devminor)
        self.mtime_ns = records.time_ns("mtime", self.mtime_ns)
        self.xattrs = records.xattrs() or _NO_XATTRS

    def check(self) -> None:
        """Raise ValueError for values that no file can have."""
        # The highest id is what chown(2) takes for 'leave it as it is'.
        if not (0 <= self.uid < 0xFFFFFFFF and 0 <= self.gid < 0xFFFFFFFF):
            raise ValueError(f"owner {self.uid}:{self.gid}")
        if not 0 <= self.stored <= MAX_SIZE or not 0 <= self.size <= MAX_SIZE:
            raise ValueError(f"size {self.size}")
        if self.mode < 0:
            raise ValueError(f"mode {self.mode:o}")
        if not (0 <= self.devmajor < 1 << 12 and 0 <= self.devminor < 1 << 20):
            raise ValueError(f"device number {self.devmajor}:{self.devminor}")
        if "\0" in self.name or "\0" in self.linkname:
            raise ValueError("a zero byte in its name")
        if self.type not in _FILE_TYPES:
            # As everywhere: what is no file has no data, whatever its size field says.
            self.size = self.stored = 0
        if self.segments is not None:
            check_map(self.segments, self.size, self.stored)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.type in _FILE_TYPES


def _verify(block: bytes, expected: int) -> None:
    """Compare the header's checksum, the sum of its bytes with the field itself as spaces."""
    # The low half of adler32 is 1 plus the sum modulo 65521, so exact for 256 bytes.
    total = (zlib.adler32(block[:256]) & 0xFFFF) + (zlib.adler32(block[256:]) & 0xFFFF) - 2
    total += 8 * 0x20 - sum(block[_CHECKSUM])
    if total != expected and expected not in tarfile.calc_chksums(block):  # type: ignore[attr-defined]
        raise ValueError("its checksum is wrong")


def is_end(block: bytes) -> bool:
    """Whether the block is one of those that end an archive."""
    return block == _ZEROS


def _text(field: bytes) -> str:
    return os.fsdecode(field.partition(b"\0")[0])


def long_name(data: bytes) -> str:
    """The text of a GNU long name."""
    return _text(data)


@lru_cache(4096)
def number(field: bytes) -> int:
    """A number field: octal digits, or base 256 with the first bit set (GNU, star).

    Raises ValueError.
    """
    if field[0] & _BASE256:
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        return value - (1 << bits) if value >> (bits - 1) else value
    text = field.strip(b" \0").partition(b"\0")[0]
    if not text:
        return 0
    if not text.isdigit():
        raise ValueError(f"{text!r} is not an octal number")
    return int(text, 8)


def old_sparse_map(block: bytes) -> tuple[array[int], bool, int]:
    """Segments in a GNU sparse header (type S), whether more follow, and the file's length."""
    return _segments(block[386:482]), bool(block[482]), number(block[483:495])


def old_sparse_extension(block: bytes) -> tuple[array[int], bool]:
    """Segments in a block that follows such a header, and whether yet more follow."""
    return _segments(block[:504]), bool(block[504])


def _segments(data: bytes) -> array[int]:
    found = array("q")
    for position in range(0, len(data), 24):
        offset, length = data[position : position + 12], data[position + 12 : position + 24]
        if not offset[0]:
            break
        found.extend((number(offset), number(length)))
    return found


def check_map(segments: array[int], size: int, stored: int) -> None:
    """Raise ValueError unless the segments ascend within ``size`` and take up ``stored`` bytes."""
    position = total = 0
    if len(segments) % 2 or len(segments) > 2 * MAX_SPARSE_ENTRIES:
        raise ValueError("a malformed sparse map")
    for offset, length in zip(segments[::2], segments[1::2], strict=True):
        if offset < position or length < 0 or offset + length > size:
            raise ValueError("a sparse map whose parts overlap or do not fit")
        position = offset + length
        total += length
    if total != stored:
        raise ValueError("a sparse map that does not fit its data")
