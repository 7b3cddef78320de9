"""Traffic between network namespaces: servers that tell who asked, and those who ask them.

Sockets belong to the namespace that they were made in, so all of it happens in this process.
"""

from __future__ import annotations

import contextlib
import hashlib
import selectors
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from runengine.netns import namespace

if TYPE_CHECKING:
    from typing import Self

PATIENCE_S = 10.0
SHORT_S = 1.0
"""How long what must be dropped is waited for."""
_TYPES = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class Answer(NamedTuple):
    """What a server saw of a connection."""

    peer: str
    """The address that it came from."""
    server: str
    """Name of the server."""
    digest: str
    """SHA-256 of what was received."""


class Server:
    """Listens on one port of a namespace, in both families, until it is closed."""

    def __init__(self, netns_fd: int, protocol: str, port: int, name: str = "") -> None:
        self.name = name
        with namespace.entered(netns_fd):
            self._socket = socket.socket(socket.AF_INET6, _TYPES[protocol])
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("::", port))
        self._end, self._stop = socket.socketpair()
        if protocol == "tcp":
            self._socket.listen(1024)
        serve = self._accept if protocol == "tcp" else self._reply
        self._threads = [threading.Thread(target=self._run, args=(serve,))]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.close()
        for thread in self._threads:
            thread.join()
        self._end.close()
        self._socket.close()

    def _run(self, serve) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._end, selectors.EVENT_READ)
            while all(key.fileobj is self._socket for key, _ in selector.select()):
                serve()

    def _reply(self) -> None:
        data, peer = self._socket.recvfrom(1 << 16)
        self._socket.sendto(self._seen(peer, hashlib.sha256(data)), peer)

    def _accept(self) -> None:
        connection, peer = self._socket.accept()
        thread = threading.Thread(target=self._serve, args=(connection, peer))
        self._threads.append(thread)
        thread.start()

    def _serve(self, connection: socket.socket, peer) -> None:
        """Everything that comes is read to its end, then answered."""
        digest = hashlib.sha256()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(PATIENCE_S)
            while data := connection.recv(1 << 18):
                digest.update(data)
            connection.sendall(self._seen(peer, digest))

    def _seen(self, peer, digest) -> bytes:
        address = peer[0].removeprefix("::ffff:")
        return f"{address} {self.name} {digest.hexdigest()}".encode()


def connect(
    netns_fd: int,
    address: str,
    port: int,
    *,
    protocol: str = "tcp",
    patience_s: float = PATIENCE_S,
) -> socket.socket:
    """A socket of the namespace that is connected. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with namespace.entered(netns_fd):
        sock = socket.socket(family, _TYPES[protocol])
    try:
        sock.settimeout(patience_s)
        sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return sock


def finish(sock: socket.socket, data: bytes = b"x") -> Answer:
    """Send the data, and read what the server saw. Raises OSError."""
    sock.sendall(data)
    if sock.type == socket.SOCK_STREAM:
        sock.shutdown(socket.SHUT_WR)
    text = sock.recv(1000)
    if not text:
        raise ConnectionResetError("no answer")
    return Answer(*text.decode().split(" "))


def ask(
    netns_fd: int,
    address: str,
    port: int,
    data: bytes = b"x",
    *,
    protocol: str = "tcp",
    patience_s: float = PATIENCE_S,
) -> Answer:
    """Connect, send, and read what the server saw. Raises OSError."""
    with connect(netns_fd, address, port, protocol=protocol, patience_s=patience_s) as sock:
        return finish(sock, data)


Way = tuple[int, str, int]
"""From a namespace to an address and a port."""


def open_ways(*ways: Way, protocol: str = "tcp") -> list[Way]:
    """Those on which a server answers; they are tried at once, so all that fail cost one wait."""
    with ThreadPoolExecutor(len(ways)) as pool:
        found = list(pool.map(lambda way: reaches(*way, protocol=protocol), ways))
    return [way for way, is_open in zip(ways, found, strict=True) if is_open]


def reaches(netns_fd: int, address: str, port: int, *, protocol: str = "tcp") -> bool:
    """Whether a server answers, for what shall not be."""
    try:
        ask(netns_fd, address, port, protocol=protocol, patience_s=SHORT_S)
    except OSError:
        return False
    return True
