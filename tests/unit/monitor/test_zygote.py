"""What the zygote takes for a request."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from runengine.monitor import zygote

if TYPE_CHECKING:
    from collections.abc import Iterator

    Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def asking() -> Iterator[Pair]:
    """The zygote's end, which never waits, and a worker's."""
    asked, asking = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    asked.setblocking(False)
    with asked, asking:
        yield asked, asking


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_request_is_two_descriptors(asking: Pair):
    read, write = os.pipe()
    socket.send_fds(asking[1], [zygote.REQUEST], [read, write])
    request = zygote.receive(asking[0])
    assert request is not None
    os.write(request[1], b"here")
    assert os.read(read, 10) == b"here"
    for fd in (read, write, *request):
        assert os.get_inheritable(fd) is False
        os.close(fd)


@pytest.mark.parametrize(
    ("word", "count"), [(b"M", 0), (b"M", 1), (b"M", 3), (b"M", 100), (b"x", 2), (b"", 2)]
)
def test_nonsense_is_none_and_leaves_nothing_open(asking: Pair, word: bytes, count: int):
    null = os.open(os.devnull, os.O_RDONLY)
    before = open_descriptors()
    socket.send_fds(asking[1], [word], [null] * count)
    assert zygote.receive(asking[0]) is None
    assert open_descriptors() == before
    os.close(null)


def test_nobody_asks(asking: Pair):
    assert zygote.receive(asking[0]) is None
    asking[1].close()
    assert zygote.receive(asking[0]) is None
