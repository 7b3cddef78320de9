"""Which tracked connections go with a port, and what the kernel is asked for it."""

from __future__ import annotations

import errno
import struct

import pytest

from runengine.errors import EngineError
from runengine.linux import netlink
from runengine.linux.netlink import NetlinkError, attribute, attributes, nested
from runengine.netns import conntrack
from runengine.netns.conntrack import Filter
from runengine.netns.types import Published

GET, DELETE = 0x101, 0x102
DNAT = 1 << 5


@pytest.fixture
def sent(monkeypatch):
    """Deletions that were sent; an older kernel refuses those by filter."""
    found: list[netlink.Message] = []
    monkeypatch.setattr(netlink, "send", lambda _family, messages: found.extend(messages))

    def ask(_family, message):
        found.append(message)
        return []

    monkeypatch.setattr(netlink, "ask", ask)
    return found


def kinds(sent) -> list[tuple[int, int]]:
    return [(message.type, message.body[0]) for message in sent]


def test_withdrawn_ports_of_ipv4_are_one_deletion(sent):
    ports = [Published("tcp", "0.0.0.0", port, "10.0.0.2", 80) for port in range(1000)]
    conntrack.forget_published(ports)
    assert kinds(sent) == [(DELETE, 2)]
    assert sent[0].body[4:] == (
        nested(1, nested(2, attribute(1, b"\x06")))
        + nested(2, nested(2, attribute(1, b"\x06")), nested(1, attribute(1, b"\x0a\0\0\x02")))
        + nested(25, attribute(1, struct.pack("=I", 8)), attribute(2, struct.pack("=I", 9)))
    )


def test_the_kernel_is_never_asked_for_an_address_of_ipv6(sent):
    """It would delete all others instead."""
    conntrack.forget_published([Published("tcp", "::", 8080, "fd00::2", 80)])
    conntrack.forget_published([Published("tcp", "2001:db8::5", 8080, "fd00::2", 80)])
    conntrack.forget_unpublished([Published("udp", "2001:db8::5", 8080, "fd00::2", 80)])
    assert kinds(sent) == [(DELETE, 10), (GET, 10), (GET, 10)]
    for message in sent:
        found = attributes(message.body[4:])
        assert not [side for side in (1, 2) if 1 in attributes(found[side])]


def test_only_datagrams_are_forgotten_when_a_port_is_published(sent):
    conntrack.forget_unpublished(
        [Published(protocol, "0.0.0.0", 80, "10.0.0.2", 80) for protocol in ("tcp", "udp")]
    )
    assert kinds(sent) == [(DELETE, 2)]


def test_a_long_row_is_looked_for_in_one_list(sent):
    conntrack.forget_unpublished([Published("udp", "0.0.0.0", 80, "10.0.0.2", 80, 3000)])
    assert kinds(sent) == [(GET, 2)]


def entry(destination: bytes, port: int, answering: bytes, status: int) -> bytes:
    """A connection as the kernel lists it."""
    client = b"\xc6\x33\x64\x02"

    def side(source: bytes, target: bytes, source_port: int, target_port: int) -> bytes:
        return nested(1, attribute(1, source), attribute(2, target)) + nested(
            2,
            attribute(1, b"\x11"),
            attribute(2, struct.pack("!H", source_port)),
            attribute(3, struct.pack("!H", target_port)),
        )

    return bytes(4) + (
        nested(1, side(client, destination, 5555, port))
        + nested(2, side(answering, client, port, 5555))
        + attribute(3, struct.pack("!I", status))
        + attribute(18, b"\0\x07")
    )


HOST, CONTAINER, OTHER = b"\xcb\0\x71\x05", b"\x0a\0\0\x02", b"\x0a\0\0\x03"
LISTED = [
    entry(HOST, 53, CONTAINER, DNAT),
    entry(HOST, 53, OTHER, DNAT),
    entry(HOST, 54, HOST, 0),
    entry(HOST, 99, HOST, 0),
]


@pytest.fixture
def older(monkeypatch):
    """A kernel that takes a filter for a mistake; returns what was deleted one by one."""
    deleted: list[bytes] = []

    def send(_family, messages):
        if 25 in attributes(messages[0].body[4:]):
            raise NetlinkError(errno.EINVAL)
        deleted.extend(message.body[4:] for message in messages)

    monkeypatch.setattr(netlink, "send", send)
    monkeypatch.setattr(netlink, "ask", lambda *_: [(0x100, body) for body in LISTED])
    return deleted


def identity(body: bytes) -> bytes:
    found = attributes(body[4:])
    return nested(1, found[1]) + attribute(18, found[18])


def test_older_kernels_are_told_which_ones(older):
    conntrack.forget_published([Published("udp", "0.0.0.0", 53, "10.0.0.2", 53)])
    assert older == [identity(LISTED[0])]
    older.clear()
    conntrack.forget_unpublished([Published("udp", "0.0.0.0", 50, "10.0.0.2", 50, 5)])
    assert older == [identity(LISTED[2])]


def test_what_has_ended_in_the_meantime_is_no_error(older, monkeypatch):
    def send(_family, _messages):
        raise NetlinkError(errno.ENOENT)

    real = netlink.send

    def mixed(family, messages):
        (real if 25 in attributes(messages[0].body[4:]) else send)(family, messages)

    monkeypatch.setattr(netlink, "send", mixed)
    conntrack.forget_published([Published("udp", "0.0.0.0", 53, "10.0.0.2", 53)])


def test_other_refusals_are_errors(monkeypatch):
    def send(*_):
        raise NetlinkError(errno.EPERM)

    monkeypatch.setattr(netlink, "send", send)
    with pytest.raises(EngineError, match="cannot forget tracked connections"):
        conntrack.forget_published([Published("udp", "0.0.0.0", 53, "10.0.0.2", 53)])


def test_a_filter_matches_what_it_says():
    chosen = Filter(4, "udp", destination="203.0.113.5", answering="10.0.0.2", answering_port=53)
    tracked = [conntrack.tracked(4, body[4:]) for body in LISTED]
    assert [chosen.matches(one) for one in tracked] == [True, False, False, False]
    assert [Filter(4, "tcp").matches(one) for one in tracked] == [False] * 4
