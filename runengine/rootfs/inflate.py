"""Layers as they are stored: plain, gzip, zstd, bzip2 or xz, told apart by their first bytes.

The readers here raise Corrupt for damage: a wrong checksum or length, an end that comes too
early, bytes that follow the end. Several compressed members in a row count as one stream
(RFC 1952 section 2.2, RFC 8878 section 3).
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

from runengine.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ZSTD_WINDOW = 1 << 27
"""Memory that a zstd frame may demand; 128 MiB is what ``zstd`` itself accepts by default."""
_READ_BYTES = 1 << 18
_MAGIC_BYTES = 6
_TOKEN_BYTES = 32
_TOKEN_COPIES = 8


class Source(Protocol):
    """Anything with a blocking ``read``."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none at the end."""
        ...


class Filler(Protocol):
    """Fills buffers with uncompressed bytes."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Put some bytes into ``buffer``; 0 at the end."""
        ...


def open_layer(source: Source) -> tuple[str, Filler]:
    """Name of the compression ('' for none), and a reader of the uncompressed bytes.

    Errors of ``source`` itself pass through unchanged.
    """
    head = _read_exactly(source, _MAGIC_BYTES)
    for name, magics, opener in _FORMATS:
        if any(head.startswith(magic) for magic in magics):
            return name, _Checked(name, opener, _Replay(head, source))
    return "", _Replay(head, source)


def is_plain(head: bytes) -> bool:
    """Whether a layer that begins like this is stored without compression."""
    known = tuple(magic for _, magics, _ in _FORMATS for magic in magics)
    return len(head) >= _MAGIC_BYTES and not head.startswith(known)


def _read_exactly(source: Source, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = source.read(size - len(data))
        if not piece:
            break
        data += piece
    return data


class _Replay(io.RawIOBase):
    """The source with the bytes that were looked at put back in front."""

    def __init__(self, head: bytes, source: Source) -> None:
        self._head = head
        self._source = source
        self.failure: BaseException | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._head:
            data, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        else:
            data = self._pull(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _pull(self, size: int) -> bytes:
        try:
            return self._source.read(size)
        except BaseException as error:
            # So that the decompressor's complaints and the source's can be told apart.
            self.failure = error
            raise


class _Checked:
    """Turns a decompressor's complaints into Corrupt."""

    def __init__(self, name: str, opener: Callable[[_Replay], Filler], replay: _Replay) -> None:
        self._name = name
        self._replay = replay
        self._inner = opener(replay)

    def readinto(self, buffer: memoryview) -> int:
        try:
            return self._inner.readinto(buffer)
        except Exception as error:
            if error is self._replay.failure or isinstance(error, Corrupt | MemoryError):
                raise
            raise Corrupt(f"the {self._name} stream is damaged", details=str(error)) from error


def _open_gzip(replay: _Replay) -> Filler:
    from isal import isal_zlib

    return isal_zlib._GzipReader(cast("BinaryIO", replay), _READ_BYTES)


def _open_zstd(replay: _Replay) -> Filler:
    return _ZstdReader(replay)


def _open_bzip2(replay: _Replay) -> Filler:
    import bz2

    return bz2.BZ2File(io.BufferedReader(replay, _READ_BYTES))


def _open_xz(replay: _Replay) -> Filler:
    import lzma

    return lzma.LZMAFile(io.BufferedReader(replay, _READ_BYTES))


class _ZstdReader:
    """zstd frames, with the end of the last one checked.

    The decompressor takes the end of its input for the end of the stream, wherever it comes. So
    a frame of our own follows, random bytes several times over: unless these come out last, the
    frame before was not complete and swallowed ours. (Swallowed as it is, it has them once.)
    """

    def __init__(self, replay: _Replay) -> None:
        import zstandard

        self._secret = os.urandom(_TOKEN_BYTES) * _TOKEN_COPIES
        self._tail: memoryview | None = None
        self._input = _Followed(replay, zstandard.ZstdCompressor().compress(self._secret))
        self._inner = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW).stream_reader(
            cast("BinaryIO", self._input), read_size=_READ_BYTES, read_across_frames=True
        )

    def readinto(self, buffer: memoryview) -> int:
        if self._tail is None:
            size = self._inner.readinto(buffer)
            if not self._input.followed:
                return size
            # Not much is left: what the last block holds back, and our own bytes.
            self._tail = self._cut(bytes(buffer[:size]) + self._inner.read(-1))
        size = min(len(buffer), len(self._tail))
        buffer[:size] = self._tail[:size]
        self._tail = self._tail[size:]
        return size

    def _cut(self, rest: bytes) -> memoryview:
        if not rest.endswith(self._secret):
            raise Corrupt("the zstd stream is damaged", details="it ends within a frame")
        return memoryview(rest)[: -len(self._secret)]


class _Followed:
    """The source, and then a frame of our own.

    Its first byte comes alone: libzstd takes a frame at the start of a read for one to be decoded
    by itself, even if it waits for the rest of another one's header.
    """

    def __init__(self, replay: _Replay, frame: bytes) -> None:
        self._replay = replay
        self._more = [frame[:1], frame[1:]]
        self.followed = False

    def read(self, size: int) -> bytes:
        if not self.followed:
            data = self._replay.read(size)
            if data:
                return data
            self.followed = True
        return self._more.pop(0) if self._more else b""


_FORMATS: tuple[tuple[str, tuple[bytes, ...], Callable[[_Replay], Filler]], ...] = (
    ("gzip", (b"\x1f\x8b",), _open_gzip),
    # A frame, or one of the frames that are skipped (as seekable archives begin with).
    ("zstd", (b"\x28\xb5\x2f\xfd", *(bytes([n]) + b"\x2a\x4d\x18" for n in range(0x50, 0x60))),
     _open_zstd),
    ("bzip2", (b"BZh",), _open_bzip2),
    ("xz", (b"\xfd7zXZ\x00",), _open_xz),
)
