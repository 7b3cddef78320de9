"""An uncompressed layer as a stream of blocks: inflated and hashed ahead, in threads.

    source -> [inflate] -> [sha256] -> the reader here (parses headers, writes files)

Inflating, hashing and writing all release the GIL, so the three overlap. The blocks are a fixed
set of buffers that go round, so memory does not grow with the layer.
"""

from __future__ import annotations

import hashlib
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import Corrupt, InvalidParameter
from runengine.rootfs.inflate import open_layer

if TYPE_CHECKING:
    from runengine.rootfs.inflate import Filler, Source

BLOCK_BYTES = 1 << 19
_BLOCKS = 8
_STOP_TIMEOUT_S = 5.0


class Piece(NamedTuple):
    """Consecutive bytes of the stream, in place; good until the next call."""

    buffer: bytearray
    start: int
    end: int


class _Block(NamedTuple):
    """A filled buffer; size 0 is the end, or a failure."""

    buffer: bytearray
    size: int
    failure: BaseException | None = None


class LayerStream:
    """The uncompressed bytes of a layer, read once from front to back.

    ``close`` must be called; the source is not closed. The methods that read raise what the
    source raises, and Corrupt.
    """

    def __init__(self, source: Source, max_bytes: int | None = None) -> None:
        """Of a stream that is longer than ``max_bytes`` not much more is inflated."""
        self._max_bytes = max_bytes
        self._free: SimpleQueue[bytearray | None] = SimpleQueue()
        self._inflated: SimpleQueue[_Block] = SimpleQueue()
        self._hashed: SimpleQueue[_Block] = SimpleQueue()
        self._digest = hashlib.sha256()
        self._buffer = bytearray()
        self._base = self._start = self._end = 0
        self._ended = False
        self._stopped = False
        self._made = self._inflated_bytes = 0
        self._threads = [
            threading.Thread(target=self._inflate, args=(source,), name="inflate", daemon=True),
            threading.Thread(target=self._hash, name="sha256", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def tell(self) -> int:
        """Bytes read or skipped so far."""
        return self._base + self._start

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; fewer only at the end."""
        end = self._start + size
        if end <= self._end:
            data = self._buffer[self._start : end]
            self._start = end
            return bytes(data)
        parts = bytearray()
        while size > len(parts):
            piece = self.take(size - len(parts))
            if piece.start == piece.end:
                break
            parts += memoryview(piece.buffer)[piece.start : piece.end]
        return bytes(parts)

    def take(self, limit: int) -> Piece:
        """The next bytes, at most ``limit``; none at the end."""
        if self._start == self._end:
            self._next_block()
        start = self._start
        self._start = min(self._end, start + limit)
        return Piece(self._buffer, start, self._start)

    def skip_to(self, position: int) -> bool:
        """Pass over everything before ``position``; False if the stream ends earlier."""
        if position <= self._base + self._end:
            self._start = position - self._base
            return True
        while self._base + self._end < position:
            self._start = self._end
            if not self._next_block():
                return False
        self._start = position - self._base
        return True

    def hexdigest(self) -> str:
        """sha256 of the whole stream, which must have been read to its end."""
        if not self._ended:
            raise AssertionError("hash of a stream that was not read to its end")
        return self._digest.hexdigest()

    def close(self) -> None:
        """End the threads. One that waits for the source ends with the source's next answer."""
        self._stopped = True
        self._free.put(None)
        for thread in self._threads:
            thread.join(_STOP_TIMEOUT_S)

    def _next_block(self) -> bool:
        if self._ended:
            return False
        self._base += self._end
        if self._buffer:
            self._free.put(self._buffer)
        block = self._hashed.get()
        self._buffer, self._start, self._end = block.buffer, 0, block.size
        self._ended = not block.size
        if block.failure is not None:
            raise block.failure
        return bool(block.size)

    def _inflate(self, source: Source) -> None:
        """Thread: fill buffers until the end, a failure or ``close``."""
        try:
            _, filler = open_layer(source)
            while (buffer := self._empty_buffer()) is not None and not self._stopped:
                size = self._filled(filler, buffer)
                self._inflated.put(_Block(buffer, size))
                if not size:
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised in the reader's thread
            self._inflated.put(_Block(bytearray(), 0, error))
        else:
            self._inflated.put(_Block(bytearray(), 0, Corrupt("reading was stopped")))

    def _filled(self, filler: Filler, buffer: bytearray) -> int:
        size = _fill(filler, buffer)
        self._inflated_bytes += size
        if self._max_bytes is not None and self._inflated_bytes > self._max_bytes:
            raise too_long(self._max_bytes)
        return size

    def _empty_buffer(self) -> bytearray | None:
        """One that has come back; a new one while there are few, as small layers need no more."""
        if self._made < _BLOCKS and self._free.empty():
            self._made += 1
            return bytearray(BLOCK_BYTES)
        return self._free.get()

    def _hash(self) -> None:
        """Thread: hash every block on its way to the reader."""
        while True:
            block = self._inflated.get()
            if block.size:
                self._digest.update(memoryview(block.buffer)[: block.size])
            self._hashed.put(block)
            if not block.size:
                return


def too_long(max_bytes: int) -> InvalidParameter:
    """The error for a layer that is, or says that it is, larger than allowed."""
    return InvalidParameter(
        f"the layer has more than {max_bytes} bytes",
        details="when it is uncompressed",
        resolution="if the image is to be trusted, set a larger max_layer_bytes in "
        "/etc/runengine/config.json",
    )


def _fill(filler: Filler, buffer: bytearray) -> int:
    """Fill ``buffer`` as far as the stream goes."""
    view = memoryview(buffer)
    size = 0
    while size < len(buffer):
        got = filler.readinto(view[size:])
        if not got:
            break
        size += got
    return size
