"""A small HTTP server in one thread: short answers to many, and nobody can hold it up.

One poll over all connections, so that a client that dawdles or stalls costs others nothing; each
has a deadline and a limit of bytes, and when there are too many the oldest goes. With no
connection open it sleeps without a timer. HTTP/1.1 (RFC 9112), one request a connection.
"""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_CLIENTS = 32
MAX_REQUEST_BYTES = 16 << 10
TIME_LIMIT_S = 10.0
"""For the request to come, and then for the answer to be taken: Prometheus' own patience."""
ACCEPT_PAUSE_S = 0.2
_END = b"\r\n\r\n"
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
}


class Request(NamedTuple):
    """What matters to us of a request."""

    method: str
    path: str
    accept: str


class Answer(NamedTuple):
    """Status, type and content."""

    status: int
    content: bytes
    content_type: str = "text/plain; charset=utf-8"


def parse_request(head: bytes) -> Request | None:
    """The request of these header bytes; None if it is none."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):
        return None
    accepts = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            return None
        if name.lower() == "accept":
            accepts.append(value.strip())
    return Request(words[0], words[1].partition("?")[0], ", ".join(accepts))


def to_bytes(answer: Answer, *, with_content: bool = True) -> bytes:
    """The answer as it goes over the wire; HEAD gets no content."""
    allow = "Allow: GET, HEAD\r\n" if answer.status == 405 else ""
    head = (
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.content)}\r\n{allow}"
        "X-Content-Type-Options: nosniff\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (answer.content if with_content else b"")


class Client:
    """One connection: it asks, is answered, and then has time to take that and to leave."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)  # noqa: FBT003
        self._sock = sock
        self._received = bytearray()
        self._to_send = memoryview(b"")
        self._answered = False
        self.deadline = time.monotonic() + TIME_LIMIT_S

    @property
    def fd(self) -> int:
        """Its descriptor."""
        return self._sock.fileno()

    @property
    def interest(self) -> int:
        """What to poll for."""
        return select.POLLOUT if self._to_send else select.POLLIN

    def turn(self, answer: Callable[[Request], Answer]) -> bool:
        """Do what can be done now; False when the connection is over."""
        try:
            if self._to_send:
                return self._send()
            return self._receive(answer)
        except BlockingIOError:
            return True
        except OSError:
            return False

    def time_out(self) -> None:
        """Say once that it took too long to ask."""
        if not self._answered:
            with suppress(OSError):
                self._sock.send(to_bytes(Answer(408, b"too slow\n")))

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def _receive(self, answer: Callable[[Request], Answer]) -> bool:
        data = self._sock.recv(MAX_REQUEST_BYTES)
        if not data:
            return False
        self._received += data
        if self._answered:
            # It still sends. To close now would reset the connection and take the answer away.
            return len(self._received) <= 4 * MAX_REQUEST_BYTES
        end = self._received.find(_END)
        if end < 0 and len(self._received) <= MAX_REQUEST_BYTES:
            return True
        if end < 0 or end > MAX_REQUEST_BYTES:
            return self._reply(Answer(431, b"the request is too long\n"))
        request = parse_request(bytes(self._received[:end]))
        if request is None:
            return self._reply(Answer(400, b"this is no HTTP request\n"))
        return self._reply(_answered(request, answer), with_content=request.method != "HEAD")

    def _reply(self, answer: Answer, *, with_content: bool = True) -> bool:
        self._answered = True
        self._to_send = memoryview(to_bytes(answer, with_content=with_content))
        self.deadline = time.monotonic() + TIME_LIMIT_S
        return self._send()

    def _send(self) -> bool:
        self._to_send = self._to_send[self._sock.send(self._to_send) :]
        if not self._to_send:
            self._sock.shutdown(socket.SHUT_WR)
        return True


def _answered(request: Request, answer: Callable[[Request], Answer]) -> Answer:
    if request.method not in ("GET", "HEAD"):
        return Answer(405, b"only GET and HEAD\n")
    return answer(request)


class Server:
    """Serves until one of the descriptors ``until`` becomes readable."""

    def __init__(
        self, listener: socket.socket, answer: Callable[[Request], Answer], until: list[int]
    ) -> None:
        listener.setblocking(False)  # noqa: FBT003
        self._listener = listener
        self._answer = answer
        self._until = until
        self._clients: dict[int, Client] = {}  # by descriptor, the oldest first
        self._poll = select.poll()
        for fd in (listener.fileno(), *until):
            self._poll.register(fd, select.POLLIN)

    def run(self) -> None:
        """Serve; returns when there is a reason to end, with every connection closed."""
        while self._serve():
            self._drop_late()
        for client in list(self._clients.values()):
            self._drop(client)

    def _serve(self) -> bool:
        for fd, _ in self._poll.poll(self._timeout_ms()):
            if fd in self._until:
                return False
            if fd == self._listener.fileno():
                self._accept()
            elif fd in self._clients:
                self._turn(self._clients[fd])
        return True

    def _timeout_ms(self) -> float | None:
        if not self._clients:
            return None
        soonest = min(client.deadline for client in self._clients.values())
        return max(0.0, (soonest - time.monotonic()) * 1000) + 1

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            # No descriptor or no memory is left on this host: asking again at once would spin.
            time.sleep(ACCEPT_PAUSE_S)
            return
        if len(self._clients) >= MAX_CLIENTS:
            self._drop(next(iter(self._clients.values())))
        client = Client(sock)
        self._clients[client.fd] = client
        self._poll.register(client.fd, client.interest)

    def _turn(self, client: Client) -> None:
        if client.turn(self._answer):
            self._poll.modify(client.fd, client.interest)
        else:
            self._drop(client)

    def _drop(self, client: Client) -> None:
        self._poll.unregister(client.fd)
        del self._clients[client.fd]
        client.close()

    def _drop_late(self) -> None:
        now = time.monotonic()
        for client in [one for one in self._clients.values() if one.deadline <= now]:
            client.time_out()
            self._drop(client)
