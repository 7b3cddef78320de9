"""Image archives as a stream of members: one pass, nothing sought, nothing written.

Reads ustar, pax and GNU headers (POSIX pax(1); tar(5)), plain or under gzip, zstd, xz or bzip2.
Names are only labels for the caller to look members up by; no file is ever made from them.
"""

from __future__ import annotations

import posixpath
import re
import tarfile
from typing import TYPE_CHECKING, NamedTuple, Protocol

from runengine.errors import Corrupt
from runengine.rootfs.inflate import open_layer

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
CHUNK_BYTES = 1 << 20
HEADER_LIMIT_BYTES = 1 << 20
"""Extended headers hold names and times; a longer one is an attack on memory."""
PADDING_LIMIT_BYTES = 1 << 20
MAGIC_BYTES = 6
COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\0")
REPACKED = (b"BZh", b"\xfd7zXZ\0")
"""bzip2 and xz, which no media type of a layer says: such a layer is stored as a plain tar."""
_PAX_RECORD = re.compile(rb"(\d{1,7}) ([^=\0]+)=")


class Readable(Protocol):
    """Anything with ``read``; short reads are fine."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, empty at the end."""


class Member(NamedTuple):
    """One entry: a file with ``size`` bytes of content, or a link to the member ``target``."""

    name: str
    size: int
    is_file: bool
    target: str | None


class Archive:
    """Iterate over it for the members; ``chunks`` gives the content of the current one."""

    def __init__(self, stream: Readable) -> None:
        self._source = _Source(stream)
        self._left = 0
        self._padding = 0
        self._failure: Corrupt | None = None

    def __iter__(self) -> Iterator[Member]:
        """Every file and link. Raises Corrupt for what is not a tar archive, or is cut short."""
        extended: dict[str, str] = {}
        while (info := self._next_header()) is not None:
            if info.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
                extended |= _pax(self._body(info))
            elif info.type == tarfile.XGLTYPE:
                self._body(info)
            elif info.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
                key = "path" if info.type == tarfile.GNUTYPE_LONGNAME else "linkpath"
                extended[key] = _text(self._body(info).rstrip(b"\0"))
            else:
                yield self._member(info, extended)
                extended = {}
        self._source.drain(PADDING_LIMIT_BYTES)

    def chunks(self) -> Iterator[bytes]:
        """What is left of the current member's content."""
        while self._left:
            chunk = self._next_chunk()
            self._left -= len(chunk)
            yield chunk

    def read(self) -> bytes:
        """The rest of the current member's content in one piece: the caller checks the size."""
        return b"".join(self.chunks())

    def check_intact(self) -> None:
        """Raise Corrupt if reading the archive itself has failed, not only one of its members."""
        if self._failure is not None:
            raise self._failure

    def _next_chunk(self) -> bytes:
        try:
            chunk = self._source.read(min(self._left, CHUNK_BYTES))
        except Corrupt as error:
            self._failure = error
            raise
        if not chunk:
            self._failure = Corrupt("the archive is truncated: it ends inside a file")
            raise self._failure
        return chunk

    def _next_header(self) -> tarfile.TarInfo | None:
        self._skip()
        block = self._source.read_exactly(BLOCK, may_end=True)
        if not block:
            return None
        if not any(block):
            return None
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise Corrupt("not a tar archive, or a damaged one", details=str(error)) from None
        if info.size < 0:
            raise Corrupt(f"the archive's member {info.name[:200]!r} has a negative size")
        self._set_content(info.size if _has_content(info) else 0)
        return info

    def _set_content(self, size: int) -> None:
        self._left = size
        self._padding = -size % BLOCK

    def _member(self, info: tarfile.TarInfo, extended: dict[str, str]) -> Member:
        size = extended.get("size")
        if size is not None and info.isreg():
            if not size.isdigit():
                raise Corrupt(f"the archive's member {info.name[:200]!r} has a bad size")
            self._set_content(int(size))
        if info.type == tarfile.GNUTYPE_SPARSE or any(
            key.startswith("GNU.sparse") for key in extended
        ):
            raise Corrupt(
                f"the archive's member {info.name[:200]!r} is sparse",
                resolution="pack the image without --sparse",
            )
        name = normalised(extended.get("path", info.name))
        target = None
        if info.issym():
            target = normalised(
                posixpath.join(posixpath.dirname(name), extended.get("linkpath", info.linkname))
            )
        elif info.islnk():
            target = normalised(extended.get("linkpath", info.linkname))
        return Member(name, self._left, info.isreg(), target)

    def _body(self, info: tarfile.TarInfo) -> bytes:
        if info.size > HEADER_LIMIT_BYTES:
            raise Corrupt("the archive has an extended header of more than 1 MiB")
        return self.read()

    def _skip(self) -> None:
        for _ in self.chunks():
            pass
        while self._padding:
            piece = self._source.read(self._padding)
            if not piece:
                raise Corrupt("the archive is truncated: it ends inside a file")
            self._padding -= len(piece)


def normalised(name: str) -> str:
    """A member's name without ``./``, leading slashes and detours."""
    return posixpath.normpath("/" + name).lstrip("/")


def _has_content(info: tarfile.TarInfo) -> bool:
    return (
        info.isreg()
        or info.type not in tarfile.SUPPORTED_TYPES
        or info.type
        in (
            tarfile.XHDTYPE,
            tarfile.SOLARIS_XHDTYPE,
            tarfile.XGLTYPE,
            tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
        )
    )


def _pax(data: bytes) -> dict[str, str]:
    """Records ``length key=value\\n`` (pax(1), extended header)."""
    records: dict[str, str] = {}
    position = 0
    while position < len(data) and data[position]:
        match = _PAX_RECORD.match(data, position)
        end = position + int(match[1]) if match else 0
        if match is None or end > len(data) or match.end() >= end or data[end - 1] != 0x0A:
            raise Corrupt("the archive has a malformed extended header")
        records[_text(match[2])] = _text(data[match.end() : end - 1])
        position = end
    return records


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def decompressor(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The uncompressed bytes of a compressed member. Raises Corrupt where it is damaged."""
    source = _Source(_Joined(chunks))
    while chunk := source.read(CHUNK_BYTES):
        yield chunk


def chunks_of(stream: Readable) -> Iterator[bytes]:
    """Everything that the stream gives, in pieces of up to 1 MiB."""
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


class _Joined:
    """Chunks as something to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        data = self._rest or next(self._chunks, b"")
        data, self._rest = data[:size], data[size:]
        return data


class _Source:
    """The archive's bytes, decompressed if need be."""

    def __init__(self, stream: Readable) -> None:
        raw = _Peeked(stream)
        head = raw.peek(MAGIC_BYTES)
        if not head:
            raise Corrupt("the archive is empty")
        self._stream = _Inflated(raw) if head.startswith(COMPRESSED) else raw

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes. Raises Corrupt where they cannot be read or inflated."""
        try:
            return self._stream.read(size)
        except OSError as error:
            raise Corrupt("cannot read the archive", details=error.strerror) from error

    def read_exactly(self, size: int, *, may_end: bool = False) -> bytes:
        """``size`` bytes; none at all where the archive ends here and ``may_end``."""
        pieces: list[bytes] = []
        while size:
            piece = self.read(size)
            if not piece:
                if may_end and not pieces:
                    return b""
                raise Corrupt("the archive is truncated: it ends inside a header")
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def drain(self, limit: int) -> None:
        """Take the padding behind the end, so that whoever writes it does not get SIGPIPE."""
        while limit > 0 and (piece := self.read(min(limit, CHUNK_BYTES))):
            limit -= len(piece)


class _Peeked:
    """A stream whose first bytes can be looked at."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._head = b""

    def peek(self, size: int) -> bytes:
        while len(self._head) < size and (piece := self._stream.read(size - len(self._head))):
            self._head += piece
        return self._head

    def read(self, size: int) -> bytes:
        if self._head:
            head, self._head = self._head[:size], self._head[size:]
            return head
        return self._stream.read(size)


class _Inflated:
    """A compressed stream, read uncompressed."""

    def __init__(self, stream: _Peeked) -> None:
        self._filler = open_layer(stream)[1]

    def read(self, size: int) -> bytes:
        buffer = bytearray(size)
        return bytes(memoryview(buffer)[: self._filler.readinto(memoryview(buffer))])
