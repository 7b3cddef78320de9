"""Headers of a tar archive to write: ustar where it suffices, pax records where it does not."""

from __future__ import annotations

import os
import struct
import tarfile
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from runengine.rootfs.sparse import Segments

BLOCK = tarfile.BLOCKSIZE
_NSEC = 1_000_000_000
_NAME, _PREFIX = 100, 155
_MAX_ID = 0o7777777
_MAX_NUMBER = 0o77777777777
# name mode uid gid size mtime checksum type linkname magic uname gname major minor prefix
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_MAGIC = b"ustar\x0000"
_BLANK = b" " * 8
_EXTENDED = b"./PaxHeaders/"


class Fields(NamedTuple):
    """What a header says."""

    name: bytes
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    kind: bytes = tarfile.REGTYPE
    link: bytes = b""
    device: tuple[int, int] = (0, 0)


def build(fields: Fields, xattrs: dict[str, bytes] | None = None) -> bytes:
    """The header, behind an extended one where something does not fit in it."""
    records = {f"SCHILY.xattr.{key}": value for key, value in xattrs.items()} if xattrs else {}
    return _with_records(fields, records)


def build_sparse(
    fields: Fields, xattrs: dict[str, bytes], segments: Segments, size: int
) -> tuple[bytes, int]:
    """Header and map of a file of ``size`` bytes of which only the segments follow.

    The second value is how many bytes the map and the segments have together. (GNU's format 1.0:
    readers that do not know it find the map and the data under another name.)
    """
    numbers = [len(segments), *(number for segment in segments for number in segment)]
    text = "".join(f"{number}\n" for number in numbers).encode()
    text += bytes(-len(text) % BLOCK)
    stored = len(text) + sum(length for _, length in segments)
    records = {f"SCHILY.xattr.{key}": value for key, value in xattrs.items()}
    records |= {
        "GNU.sparse.major": b"1",
        "GNU.sparse.minor": b"0",
        "GNU.sparse.name": fields.name,
        "GNU.sparse.realsize": b"%d" % size,
    }
    folder, _, base = fields.name.rpartition(b"/")
    name = (folder + b"/" if folder else b"") + b"GNUSparseFile.0/" + base
    return _with_records(fields._replace(name=name, size=stored), records) + text, stored


def _with_records(fields: Fields, records: dict[str, bytes]) -> bytes:
    """The header with these records in front, and those that its own fields call for."""
    prefix, name = b"", fields.name
    if len(name) > _NAME:
        split = _split(name)
        if split is None:
            records["path"] = name
            name = name[-_NAME:].lstrip(b"/") or b"_"
        else:
            prefix, name = split
    link = fields.link
    if len(link) > _NAME:
        records["linkpath"] = link
        link = link[:_NAME]
    seconds, fraction = divmod(fields.mtime_ns, _NSEC)
    if fraction or not 0 <= seconds <= _MAX_NUMBER:
        records["mtime"] = _time(fields.mtime_ns)
        seconds = min(max(seconds, 0), _MAX_NUMBER)
    uid = _number(records, "uid", fields.uid, _MAX_ID)
    gid = _number(records, "gid", fields.gid, _MAX_ID)
    size = _number(records, "size", fields.size, _MAX_NUMBER)
    short = Fields(
        name, fields.mode, uid, gid, size, seconds, fields.kind, link, fields.device
    )
    block = _block(short, prefix)
    return _extended(fields.name, records) + block if records else block


def _number(records: dict[str, bytes], key: str, value: int, most: int) -> int:
    if value <= most:
        return value
    records[key] = b"%d" % value
    return 0


def _time(mtime_ns: int) -> bytes:
    """Seconds with decimals; a negative time has its sign before both."""
    seconds, fraction = divmod(abs(mtime_ns), _NSEC)
    text = f"{'-' if mtime_ns < 0 else ''}{seconds}"
    return (f"{text}.{fraction:09d}".rstrip("0") if fraction else text).encode()


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Prefix and name of a name that is too long for one field; None if it is for both."""
    if len(name) > _PREFIX + 1 + _NAME:
        return None
    # The name of a directory ends in a slash, which is no place to cut.
    cut = name.rfind(b"/", 0, min(_PREFIX, len(name) - 2) + 1)
    if cut <= 0 or len(name) - cut - 1 > _NAME:
        return None
    return name[:cut], name[cut + 1 :]


def _extended(name: bytes, records: dict[str, bytes]) -> bytes:
    body = b"".join(_record(os.fsencode(key), value) for key, value in records.items())
    base = name.rstrip(b"/").rpartition(b"/")[2][: _NAME - len(_EXTENDED)]
    head = Fields(_EXTENDED + base, 0o644, size=len(body), kind=tarfile.XHDTYPE)
    return _block(head, b"") + body + bytes(-len(body) % BLOCK)


def _record(key: bytes, value: bytes) -> bytes:
    """``length key=value\\n``, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) > len(str(rest)):
        length += 1
    return b"%d %b=%b\n" % (length, key, value)


def _block(fields: Fields, prefix: bytes) -> bytes:
    """The header itself; ``mtime_ns`` is in seconds here. Everything fits."""
    major, minor = fields.device
    parts = (
        fields.name,
        _octal7(fields.mode),
        _octal7(fields.uid),
        _octal7(fields.gid),
        b"%011o\0" % fields.size,
        b"%011o\0" % fields.mtime_ns,
        _BLANK,
        fields.kind,
        fields.link,
        _MAGIC,
        b"",
        b"",
        _octal7(major),
        _octal7(minor),
        prefix,
    )
    block = _HEADER.pack(*parts)
    # The low half of adler32 is 1 plus the sum modulo 65521, so exact for 256 bytes.
    total = (zlib.adler32(block[:256]) & 0xFFFF) + (zlib.adler32(block[256:]) & 0xFFFF) - 2
    return block[:148] + b"%06o\0 " % total + block[156:]


@lru_cache(1024)
def _octal7(value: int) -> bytes:
    return b"%07o\0" % value
