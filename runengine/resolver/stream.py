"""A container's TCP connection (RFC 7766): questions in a row, answers as they come."""

from __future__ import annotations

import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from runengine.resolver.loop import READ, WRITE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from runengine.resolver.forward import Asker, Reply
    from runengine.resolver.loop import Loop

IDLE_S = 10.0
"""Without a whole question or progress with an answer."""
MAX_OPEN = 32
"""Questions without an answer; more are read when there are fewer."""
MAX_UNSENT = 128 << 10
CHUNK = 16 << 10


class Stream:
    """Reads only as fast as its answers go out."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        asker: Asker,
        handle: Callable[[bytes, Reply], None],
        gone: Callable[[Stream], None],
    ) -> None:
        self.asker = asker
        self._loop = loop
        self._socket = sock
        self._handle = handle
        self._gone = gone
        self._received = bytearray()
        self._unsent = bytearray()
        self._open = 0
        self._ended = False
        self._closed = False
        self._busy = False
        self._active = time.monotonic()
        self._timer = loop.later(IDLE_S, self._on_time)
        self._mask = 0
        self._watch()

    def close(self) -> None:
        """Cut off; answers that are still to come go nowhere."""
        if self._closed:
            return
        self._closed = True
        self._timer.cancel()
        self._loop.forget(self._socket.fileno())
        self._socket.close()
        self._gone(self)

    def _watch(self) -> None:
        """Look for what can be used: nothing more to read while there is too much to answer."""
        if self._ended and not self._open and not self._unsent:
            self.close()
            return
        wanted = WRITE if self._unsent else 0
        if not self._ended and self._open < MAX_OPEN and len(self._unsent) < MAX_UNSENT:
            wanted |= READ
        if wanted != self._mask:
            self._mask = wanted
            self._loop.watch(self._socket.fileno(), wanted, self._ready)

    def _ready(self, events: int) -> None:
        try:
            if events & READ and self._mask & READ:
                self._receive()
            elif events & ~(READ | WRITE):  # reset
                self.close()
                return
            self._go_on()
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def _receive(self) -> None:
        data = self._socket.recv(CHUNK)
        self._ended = not data
        self._received += data

    def _go_on(self) -> None:
        """Hand on whole questions, as many as may be open, and send what there is."""
        self._busy = True
        try:
            while self._open < MAX_OPEN and not self._closed:
                query = self._query()
                if query is None:
                    break
                self._active = time.monotonic()
                self._open += 1
                self._handle(query, self._answer)
        finally:
            self._busy = False
        if not self._closed:
            self._send()
            self._watch()

    def _query(self) -> bytes | None:
        received = self._received
        if len(received) < 2:
            return None
        end = 2 + int.from_bytes(received[:2], "big")
        if len(received) < end:
            return None
        query = bytes(received[2:end])
        del received[:end]
        return query

    def _answer(self, response: bytes | None) -> None:
        if self._closed:
            return
        if response is None:
            self.close()  # nobody who speaks DNS
            return
        self._open -= 1
        self._unsent += struct.pack("!H", len(response)) + response
        if not self._busy:
            try:
                self._go_on()
            except OSError:
                self.close()

    def _send(self) -> None:
        if not self._unsent:
            return
        with suppress(BlockingIOError):
            count = self._socket.send(self._unsent)
            del self._unsent[:count]
            self._active = time.monotonic()

    def _on_time(self) -> None:
        left = self._active + IDLE_S - time.monotonic()
        if left <= 0:
            self.close()
        else:
            self._timer = self._loop.later(left, self._on_time)
