"""Threads between a client and a server: a proxy, and a line that is cut."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

_BYTES = 64 << 10


class Middleman:
    """Passes bytes on to 127.0.0.1:``port``; a context manager. Counts connections."""

    def __init__(self, port: int, *, cut_after: int | None = None, cuts: int = 0) -> None:
        """The first ``cuts`` connections with as many bytes end after ``cut_after`` of them."""
        self.port = port
        self.cut_after = cut_after
        self.cuts = cuts
        self.connections: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._server, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()

    @property
    def host(self) -> str:
        """``127.0.0.1:port``."""
        return f"127.0.0.1:{self._server.getsockname()[1]}"

    def greet(self, client: socket.socket) -> str:
        """What comes before the bytes; returns what the client wants."""
        return ""

    def _start(self, action: Callable[[], None]) -> None:
        thread = threading.Thread(target=action)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                self._open.append(client)
                self._start(lambda one=client: self._serve(one))  # type: ignore[misc]

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self.connections.append(self.greet(client))
            server = socket.create_connection(("127.0.0.1", self.port))
            self._open.append(server)
            self._start(lambda: self._pump(server, client, None))
            self._pump(client, server, self.cut_after)

    def _pump(self, source: socket.socket, target: socket.socket, limit: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(_BYTES):
                target.sendall(data)
                passed += len(data)
                if limit is not None and passed > limit and self.cuts > 0:
                    self.cuts -= 1
                    break
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class Proxy(Middleman):
    """An HTTP proxy that takes CONNECT to any name, and always goes to the same port."""

    def greet(self, client: socket.socket) -> str:
        """Read the request, and say yes."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += client.recv(_BYTES)
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return data.split()[1].decode()
