"""One stream to two readers: a thread stores the blob while the caller unpacks it.

Hashing, inflating and writing all release the interpreter's lock, so the two really overlap.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Self

CHUNKS_AHEAD = 8
"""How far storing may run ahead of unpacking: this many chunks of memory."""
STOP_TIMEOUT_S = 1.0


class Tee:
    """A readable stream of ``chunks``, each of which goes through ``store`` on its way.

    Leaving the context stops the thread: after that ``store`` is not called again.
    """

    def __init__(self, chunks: Iterable[bytes], store: Callable[[bytes], object]) -> None:
        self._chunks = chunks
        self._store = store
        self._ready: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._is_over = False
        self._is_stopped = False
        self._error: BaseException | None = None
        self._rest = b""
        self._thread = threading.Thread(target=self._pump, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self._thread.join(STOP_TIMEOUT_S)

    def read(self, size: int = -1) -> bytes:
        """``size`` bytes, fewer only at the end. Raises what storing or the source raised."""
        pieces: list[bytes] = []
        wanted = size
        while wanted:
            piece = self._rest or self._next()
            if not piece:
                break
            self._rest = b""
            if 0 <= wanted < len(piece):
                # Who reads takes any buffer, and copies of large pieces are not cheap.
                view = cast("bytes", memoryview(piece))
                piece, self._rest = view[:wanted], view[wanted:]
            pieces.append(piece)
            wanted -= len(piece) if size >= 0 else 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def drain(self) -> None:
        """Let everything that is left be stored."""
        self._rest = b""
        while self._next():
            pass

    def skip(self) -> None:
        """Take everything that is left out of the source, without storing it."""
        self._store = _forget
        self.drain()

    def _next(self) -> bytes:
        with self._changed:
            while not self._ready and not self._is_over:
                self._changed.wait()
            if self._ready:
                self._changed.notify_all()
                return self._ready.popleft()
            if self._error is not None:
                raise self._error
            return b""

    def _pump(self) -> None:
        try:
            for chunk in self._chunks:
                if chunk and not self._pass_on(chunk):
                    break
        except BaseException as error:  # noqa: BLE001 (raised again in the reader's thread)
            self._error = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _pass_on(self, chunk: bytes) -> bool:
        with self._changed:
            while len(self._ready) >= CHUNKS_AHEAD and not self._is_stopped:
                self._changed.wait()
            if self._is_stopped:
                return False
            self._ready.append(chunk)
            self._changed.notify_all()
        self._store(chunk)
        return True


def _forget(_chunk: bytes) -> None:
    """Stores nothing."""
