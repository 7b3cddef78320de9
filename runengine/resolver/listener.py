"""The sockets of one gateway address, UDP and TCP.

They are bound before the address is there (IP_FREEBIND, ip(7)) and stay when its bridge goes and
comes back; so nothing has to be watched, and no question is lost when tables change.
"""

from __future__ import annotations

import errno
import itertools
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from runengine.resolver.forward import Asker
from runengine.resolver.loop import READ
from runengine.resolver.stream import Stream

if TYPE_CHECKING:
    from runengine.resolver.forward import Reply
    from runengine.resolver.loop import Loop, Timer

IP_FREEBIND = 15
IPV6_FREEBIND = 78
RECEIVE_BUFFER = 1 << 20
"""For a burst of questions while tables are read."""
SO_RCVBUFFORCE = 33
BATCH = 64
"""Packets in a row before others have their turn."""
MAX_QUERY = 4096
BACKLOG = 128
MAX_STREAMS = 256
MAX_STREAMS_OF_ONE = 32
PAUSE_S = 1.0
"""When no connection can be taken."""


class Handler(Protocol):
    """Answers questions."""

    def handle(self, query: bytes, asker: Asker, gateway: str, reply: Reply) -> None:
        """Call ``reply`` once, now or later."""


class Listener:
    """Takes questions at one address."""

    _numbers = itertools.count(1)

    def __init__(self, loop: Loop, address: str, port: int, handler: Handler) -> None:
        """Raises OSError if another program has the port."""
        self.address = address
        self._loop = loop
        self._handler = handler
        self._streams: set[Stream] = set()
        self._pause: Timer | None = None
        self._packets = _bound(address, port, socket.SOCK_DGRAM)
        try:
            self._connections = _bound(address, port, socket.SOCK_STREAM)
        except OSError:
            self._packets.close()
            raise
        loop.watch(self._packets.fileno(), READ, self._on_packets, lasting=True)
        self._accept_more()

    def close(self) -> None:
        """Take no more; who is connected is cut off."""
        if self._pause:
            self._pause.cancel()
        for stream in list(self._streams):
            stream.close()
        for sock in (self._packets, self._connections):
            self._loop.forget(sock.fileno())
            sock.close()

    def _on_packets(self, _: int) -> None:
        receive, handle, gateway = self._packets.recvfrom, self._handler.handle, self.address
        for _turn in range(BATCH):
            try:
                query, source = receive(MAX_QUERY)
            except BlockingIOError:
                return
            except OSError:
                continue  # an earlier answer could not be delivered
            handle(query, Asker(source[0], source[1], 0), gateway, Answer(self._packets, source))

    def _accept_more(self) -> None:
        self._pause = None
        self._loop.watch(self._connections.fileno(), READ, self._on_connections, lasting=True)

    def _on_connections(self, _: int) -> None:
        for _turn in range(BATCH):
            try:
                sock, source = self._connections.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ECONNABORTED:  # no descriptor left: it would come again
                    self._loop.forget(self._connections.fileno())
                    self._pause = self._loop.later(PAUSE_S, self._accept_more)
                    return
                continue
            self._accept(sock, source[0], source[1])

    def _accept(self, sock: socket.socket, address: str, port: int) -> None:
        of_one = sum(stream.asker.address == address for stream in self._streams)
        if len(self._streams) >= MAX_STREAMS or of_one >= MAX_STREAMS_OF_ONE:
            sock.close()
            return
        sock.setblocking(False)  # noqa: FBT003
        asker = Asker(address, port, next(self._numbers))
        stream = Stream(
            self._loop,
            sock,
            asker,
            lambda query, reply: self._handler.handle(query, asker, self.address, reply),
            self._streams.discard,
        )
        self._streams.add(stream)


class Answer:
    """Sends the answer to a packet from where it came to."""

    __slots__ = ("_socket", "_to")

    def __init__(self, sock: socket.socket, to: tuple[str, int]) -> None:
        self._socket = sock
        self._to = to

    def __call__(self, response: bytes | None) -> None:
        """Send it; None: none is due."""
        if response is None:
            return
        with suppress(OSError):  # gone, or its network; it asks again if it still wants to know
            self._socket.sendto(response, self._to)


def _bound(address: str, port: int, kind: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        if kind == socket.SOCK_STREAM:
            # Not for UDP, where two programs could then have the port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
            sock.listen(BACKLOG)
        else:
            with suppress(PermissionError):
                sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
            sock.bind((address, port))
    except BaseException:
        sock.close()
        raise
    return sock
