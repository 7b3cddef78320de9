"""One try with one upstream server: a packet, or a connection for one message."""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from runengine.resolver import packets, upstream
from runengine.resolver.loop import READ, WRITE

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.resolver.loop import Loop

    Done = Callable[["Exchange", bytes | None], None]

_buffer = bytearray(packets.MAX_SIZE)
"""Every message is received here; a fresh one of this size for each would cost more than the
rest of the work."""


class Exchange:
    """Sends a query under an id of its own and waits for what answers it.

    ``done`` is called once, with the server's message or with None if none can come any more.
    The port is new and random for each (the kernel's choice), as the id is: who wants to slip in
    an answer has to guess both.
    """

    kind = socket.SOCK_DGRAM

    def __init__(
        self, loop: Loop, server: str, port: int, query: bytes, end: int, done: Done
    ) -> None:
        """Raises OSError where there is no way to the server."""
        self.server = server
        self.began = time.monotonic()
        self._loop = loop
        self._query = os.urandom(2) + query[2:]
        self._end = end
        self._done: Done | None = done
        address = upstream.sockaddr(server, port)
        family = socket.AF_INET6 if len(address) > 2 else socket.AF_INET
        self._socket = socket.socket(family, self.kind | socket.SOCK_NONBLOCK)
        try:
            self._begin(address)
        except OSError:
            self._socket.close()
            raise

    def _begin(self, address: upstream.SocketAddress) -> None:
        # Connected: the kernel drops what comes from elsewhere, and says if nobody listens.
        self._socket.connect(address)
        self._socket.send(self._query)
        self._loop.watch(self._socket.fileno(), READ, self._ready)

    def _ready(self, _: int) -> None:
        try:
            count = self._socket.recv_into(_buffer)
        except BlockingIOError:
            return
        except OSError:
            self._finish(None)
            return
        response = bytes(memoryview(_buffer)[:count])
        if packets.matches(self._query, self._end, response):
            self._finish(response)

    def close(self) -> None:
        """Wait no more; ``done`` is not called then."""
        self._done = None
        if self._socket.fileno() >= 0:
            self._loop.forget(self._socket.fileno())
            self._socket.close()

    def _finish(self, response: bytes | None) -> None:
        done = self._done
        self.close()
        if done:
            done(self, response)


class StreamExchange(Exchange):
    """The same over TCP (RFC 7766): length, message."""

    kind = socket.SOCK_STREAM

    def _begin(self, address: upstream.SocketAddress) -> None:
        self._unsent = memoryview(struct.pack("!H", len(self._query)) + self._query)
        self._received = bytearray()
        with suppress(BlockingIOError):
            self._socket.connect(address)
        self._loop.watch(self._socket.fileno(), WRITE, self._ready)

    def _ready(self, _: int) -> None:
        try:
            if self._unsent:
                self._send()
            else:
                self._receive()
        except BlockingIOError:
            return
        except OSError:
            self._finish(None)

    def _send(self) -> None:
        self._unsent = self._unsent[self._socket.send(self._unsent) :]
        if not self._unsent:
            self._loop.watch(self._socket.fileno(), READ, self._ready)

    def _receive(self) -> None:
        count = self._socket.recv_into(_buffer)
        self._received += memoryview(_buffer)[:count]
        if len(self._received) >= 2:
            length = int.from_bytes(self._received[:2], "big")
            if len(self._received) >= 2 + length:
                response = bytes(self._received[2 : 2 + length])
                right = packets.matches(self._query, self._end, response)
                self._finish(response if right else None)
                return
        if not count:
            self._finish(None)
