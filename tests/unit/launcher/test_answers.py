"""The small HTTP server: what it answers, and that nobody can hold it up."""

from __future__ import annotations

import os
import select
import socket
import threading
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.launcher import answers
from runengine.launcher.answers import Answer, Request, Server, parse_request

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
BIG = b"y" * (8 << 20)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GET / HTTP/1.1", Request("GET", "/", "")),
        (b"GET /m?a=b HTTP/1.0\r\nACCEPT:  text/plain ", Request("GET", "/m", "text/plain")),
        (b"X /m HTTP/1.1\r\nAccept: a\r\nB: c\r\naccept: d", Request("X", "/m", "a, d")),
    ],
)
def test_requests(head, expected):
    assert parse_request(head) == expected


@pytest.mark.parametrize(
    "head",
    [
        b"", b"GET /", b"GET  / HTTP/1.1", b"GET / HTTP/2", b"GET x HTTP/1.1",
        b"GET / HTTP/1.1\r\nno colon", b"GET / HTTP/1.1\r\n folded: x", b"GET / HTTP/1.1\r\n: x",
        b"\x16\x03\x01\x02",
    ],
)
def test_what_is_no_request(head):
    assert parse_request(head) is None


@given(st.binary())
def test_no_bytes_break_the_parser(head):
    found = parse_request(head)
    assert found is None or found.path.startswith("/")


class Running:
    """A server in a thread, on loopback."""

    def __init__(self, stack: ExitStack) -> None:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        self.address = listener.getsockname()
        self.asked: list[Request] = []
        stop_read, self._stop = os.pipe()
        self._thread = threading.Thread(target=Server(listener, self._answer, [stop_read]).run)
        self._thread.start()
        stack.callback(os.close, stop_read)
        stack.callback(self._thread.join)
        stack.callback(os.close, self._stop)

    def _answer(self, request: Request) -> Answer:
        self.asked.append(request)
        return Answer(200, BIG if request.path == "/big" else b"hello\n")

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=30)

    def ask(self, data: bytes) -> bytes:
        with self.connect() as sock:
            sock.sendall(data)
            return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(1 << 20), b""))


@pytest.fixture
def server():
    with ExitStack() as stack:
        yield Running(stack)


def test_an_answer_ends_the_connection(server):
    head, _, content = server.ask(GET).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 6\r\n" in head
    assert b"Connection: close" in head
    assert content == b"hello\n"
    assert server.asked == [Request("GET", "/x", "")]


def test_a_head_request_gets_no_content(server):
    head, _, content = server.ask(GET.replace(b"GET", b"HEAD")).partition(b"\r\n\r\n")
    assert b"Content-Length: 6\r\n" in head
    assert content == b""


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST / HTTP/1.1\r\n\r\n", b"405"),
        (b"rubbish\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000, b"431"),
        (b"\0" * 100_000, b"431"),
    ],
)
def test_what_is_refused(server, data, status):
    with server.connect() as sock:
        # It may stop listening before it has all of that.
        sender = threading.Thread(target=_send, args=(sock, data))
        sender.start()
        assert sock.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 " + status
        sender.join()
    assert server.asked == []


def _send(sock: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        sock.sendall(data)


def test_a_request_may_come_in_pieces(server):
    with server.connect() as sock:
        for byte in GET:
            sock.sendall(bytes([byte]))
        assert read_all(sock).endswith(b"hello\n")


def test_a_long_answer_arrives_whole_though_the_client_reads_late(server):
    with server.connect() as slow:
        slow.sendall(GET.replace(b"/x", b"/big"))
        assert server.ask(GET).endswith(b"hello\n")
        assert read_all(slow).endswith(BIG)


def test_clients_that_say_nothing_keep_nobody_waiting(server):
    with ExitStack() as stack:
        silent = [
            stack.enter_context(server.connect()) for _ in range(2 * answers.MAX_CLIENTS)
        ]
        assert server.ask(GET).endswith(b"hello\n")
        # The oldest had to go, for the limit's sake.
        assert silent[0].recv(1) == b""
        silent[-1].sendall(GET)
        assert read_all(silent[-1]).endswith(b"hello\n")


def test_clients_that_hang_up_are_forgotten(server):
    for _ in range(2 * answers.MAX_CLIENTS):
        with server.connect() as sock:
            sock.sendall(b"GET")
    assert server.ask(GET).endswith(b"hello\n")


def test_who_asks_too_slowly_is_told(monkeypatch):
    monkeypatch.setattr(answers, "TIME_LIMIT_S", 0.05)
    with ExitStack() as stack:
        server = Running(stack)
        assert server.ask(b"GET / HT").startswith(b"HTTP/1.1 408 ")
        assert server.ask(GET).endswith(b"hello\n")


def send_for_ever(sock: socket.socket) -> None:
    while True:
        sock.sendall(b"x" * 65536)


def test_who_never_stops_sending_is_cut_off(server):
    with server.connect() as sock:
        sock.sendall(GET)
        assert sock.recv(1) == b"H"
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):
            send_for_ever(sock)


def test_it_sleeps_without_a_timer_when_nobody_is_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener, lambda _: Answer(200, b""), [])
        assert server._timeout_ms() is None
        with socket.create_connection(listener.getsockname()):
            select.select([listener], [], [])
            server._accept()
            assert server._timeout_ms() is not None
            server._drop(next(iter(server._clients.values())))
        assert server._timeout_ms() is None
