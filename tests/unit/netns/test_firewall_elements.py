"""What the table is told of bridges and ports, in nft's words and as the kernel takes it."""

from __future__ import annotations

import pytest

from runengine.netns import elements, nftables
from runengine.netns.elements import KINDS, Element
from runengine.netns.types import Bridge, Published

BRIDGE = Bridge("br0", ("10.0.0.1/24",))


def texts(found: list[Element]) -> list[str]:
    return [f"{one.set}: {one.text}" for one in found]


@pytest.mark.parametrize(
    ("bridge", "told"),
    [
        (BRIDGE, ['bridges: "br0"', 'masqueraded: "br0"', 'within: "br0" . "br0"']),
        (BRIDGE._replace(masquerade=False), ['bridges: "br0"', 'within: "br0" . "br0"']),
        (BRIDGE._replace(icc=False), ['bridges: "br0"', 'masqueraded: "br0"']),
        (
            BRIDGE._replace(internal=True),
            ['bridges: "br0"', 'internal: "br0"', 'within: "br0" . "br0"'],
        ),
    ],
)
def test_bridges(bridge, told):
    assert texts(elements.of_bridge(bridge)) == told
    assert set(elements.of_bridge(bridge)) <= set(elements.of_device("br0"))


@pytest.mark.parametrize(
    ("published", "told"),
    [
        (
            Published("tcp", "0.0.0.0", 8080, "10.0.0.2", 80),
            ["everywhere4: tcp . 8080 : 10.0.0.2 . 80"],
        ),
        (
            Published("udp", "127.0.0.1", 53, "10.0.0.2", 5353),
            ["ports4: 127.0.0.1 . udp . 53 : 10.0.0.2 . 5353"],
        ),
        (
            Published("tcp", "::", 8080, "fd00::2", 80),
            ["everywhere6: tcp . 8080 : fd00::2 . 80", "loopback6: tcp . 8080"],
        ),
        (
            Published("sctp", "::1", 8080, "fd00::2", 80),
            ["ports6: ::1 . sctp . 8080 : fd00::2 . 80", "loopback6: sctp . 8080"],
        ),
        (
            Published("tcp", "2001:db8::5", 8080, "fd00::2", 80),
            ["ports6: 2001:db8::5 . tcp . 8080 : fd00::2 . 80"],
        ),
        (
            Published("tcp", "0.0.0.0", 5000, "10.0.0.2", 5000, 3000),
            ["ranges4: 0.0.0.0-255.255.255.255 . tcp . 5000-7999 : 10.0.0.2"],
        ),
        (
            Published("tcp", "192.0.2.5", 5000, "10.0.0.2", 5000, 2),
            ["ranges4: 192.0.2.5 . tcp . 5000-5001 : 10.0.0.2"],
        ),
        (
            Published("udp", "::1", 5000, "fd00::2", 5000, 10),
            ["ranges6: ::1 . udp . 5000-5009 : fd00::2", "loopback_ranges6: udp . 5000-5009"],
        ),
        (
            Published("tcp", "0.0.0.0", 5000, "10.0.0.2", 80, 2),
            [
                "everywhere4: tcp . 5000 : 10.0.0.2 . 80",
                "everywhere4: tcp . 5001 : 10.0.0.2 . 81",
            ],
        ),
    ],
)
def test_ports(published, told):
    assert texts(elements.of_published(published)) == told
    assert elements.of_all([published, published]) == elements.of_published(published)


def test_declarations():
    assert KINDS["within"].declaration == "{ type ifname . ifname; }"
    assert KINDS["ranges6"].declaration == (
        "{ type ipv6_addr . inet_proto . inet_service : ipv6_addr; flags interval; }"
    )


def only(published: Published) -> nftables.Stored:
    return nftables.encode(elements.of_published(published))[0]


def test_registers():
    """Each part fills up to four bytes; an interface's name takes sixteen."""
    assert only(Published("tcp", "127.0.0.1", 8080, "10.0.0.2", 80)) == nftables.Stored(
        "ports4",
        bytes.fromhex("7f000001 06000000 1f900000"),
        bytes.fromhex("0a000002 00500000"),
        b"",
    )
    assert only(Published("udp", "0.0.0.0", 1, "10.0.0.2", 1, 2)) == nftables.Stored(
        "ranges4",
        bytes.fromhex("00000000 11000000 00010000"),
        bytes.fromhex("0a000002"),
        bytes.fromhex("ffffffff 11000000 00020000"),
    )
    (bridge, *_) = nftables.encode(elements.of_bridge(BRIDGE))
    assert bridge.key == b"br0" + bytes(13)


@pytest.mark.parametrize(
    ("other", "overlaps"),
    [
        (Published("tcp", "0.0.0.0", 105, "10.0.0.9", 105, 50), True),
        (Published("tcp", "192.0.2.5", 109, "10.0.0.9", 109, 5), True),
        (Published("tcp", "0.0.0.0", 110, "10.0.0.9", 110, 5), False),
        (Published("udp", "0.0.0.0", 100, "10.0.0.9", 100, 10), False),
        (Published("tcp", "0.0.0.0", 100, "10.0.0.9", 100), False),  # another map
    ],
)
def test_overlaps(other, overlaps):
    mine = only(Published("tcp", "0.0.0.0", 100, "10.0.0.2", 100, 10))
    assert mine.overlaps(only(other)) is overlaps
    assert only(other).overlaps(mine) is overlaps
