"""Archives for tests: ordinary ones by tarfile, odd ones by patching headers."""

from __future__ import annotations

import io
import os
import tarfile
from typing import Any

MTIME = 1_600_000_000


def member(
    name: str, data: bytes = b"", *, kind: bytes = tarfile.REGTYPE, **fields: Any
) -> tuple[tarfile.TarInfo, bytes]:
    """A member owned by whoever runs the test, with ``fields`` of TarInfo set."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mtime = kind, len(data), MTIME
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    info.uid, info.gid = os.geteuid(), os.getegid()
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def directory(name: str, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A directory."""
    return member(name, kind=tarfile.DIRTYPE, **fields)


def symlink(name: str, target: str, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A symbolic link."""
    return member(name, kind=tarfile.SYMTYPE, linkname=target, **fields)


def link(name: str, target: str, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A hard link."""
    return member(name, kind=tarfile.LNKTYPE, linkname=target, **fields)


def archive(
    *members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT, **options: Any
) -> bytes:
    """The members as an archive."""
    out = io.BytesIO()
    options = {"encoding": "utf-8", "errors": "surrogateescape", **options}
    with tarfile.open(fileobj=out, mode="w", format=format, **options) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def header(info: tarfile.TarInfo, *patches: tuple[int, bytes]) -> bytes:
    """One GNU header block with bytes replaced (offset, bytes) and the checksum made right."""
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")[-512:])
    for offset, data in patches:
        block[offset : offset + len(data)] = data
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pad(data: bytes) -> bytes:
    """Fill up to whole blocks."""
    return data + bytes(-len(data) % 512)


def extended(records: bytes, kind: bytes = b"x") -> bytes:
    """An extended header with these records."""
    info, _ = member("pax", records)
    return header(info, (156, kind)) + pad(records)


def record(key: str, value: bytes) -> bytes:
    """One record of an extended header."""
    body = b" " + key.encode() + b"=" + value + b"\n"
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode() + body


END = bytes(1024)
"""The two blocks that end an archive."""
