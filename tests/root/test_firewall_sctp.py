"""SCTP through published ports, packet by packet: the tests' kernel may have no such sockets.

An INIT goes out as a raw packet, and must arrive in the container with the container's port and a
checksum that is right (the kernel drops others before they are translated).
"""

from __future__ import annotations

import socket
import struct

import pytest

from runengine.netns import namespace
from runengine.netns.types import Published
from tests.support.capabilities import needs
from tests.support.site import CLIENT, CLIENT6, HOST, HOST6, Site
from tests.support.traffic import PATIENCE_S, SHORT_S

pytestmark = [pytest.mark.root, needs("nft", "ip")]

PORT = 3868


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("site")) as site:
        yield site


def crc32c(data: bytes) -> int:
    """RFC 9260, appendix A."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def init_packet(source_port: int, port: int) -> bytes:
    """An INIT chunk: tag 1, window 64 KiB, one stream each way."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65536, 1, 1, 1)
    head = struct.pack("!HHI", source_port, port, 0)
    return head + struct.pack("<I", crc32c(head + bytes(4) + chunk)) + chunk


def is_right(packet: bytes) -> bool:
    unsigned = packet[:8] + bytes(4) + packet[12:]
    return bool(struct.unpack_from("<I", packet, 8)[0] == crc32c(unsigned))


def raw_socket(netns_fd: int, family: int) -> socket.socket:
    with namespace.entered(netns_fd):
        return socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_SCTP)


def heard(sock: socket.socket, patience_s: float) -> tuple[bytes, str] | None:
    """The packet and where it is from, without the IP header."""
    sock.settimeout(patience_s)
    try:
        packet, peer = sock.recvfrom(2000)
    except TimeoutError:
        return None
    return packet[20:] if sock.family == socket.AF_INET else packet, peer[0]


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize(
    ("host_ip", "address", "source"),
    [("0.0.0.0", HOST, CLIENT), (HOST, HOST, CLIENT), ("::", HOST6, CLIENT6)],
)
def test_an_association_begins_in_the_container(site, host_ip, address, source, count):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    target = site.a1.ip6 if ":" in address else site.a1.ip
    port = Published("sctp", host_ip, PORT, target, PORT if count > 1 else 9, count)
    source_port = 40000 + count
    with (
        raw_socket(site.a1.netns_fd, family) as inside,
        raw_socket(site.client, family) as outside,
    ):
        with site.published(port):
            outside.sendto(init_packet(source_port, PORT), (address, 0))
            found = heard(inside, PATIENCE_S)
        assert found is not None
        packet, peer = found
        assert peer == source
        assert struct.unpack_from("!HH", packet) == (source_port, port.container_port)
        assert is_right(packet)
        outside.sendto(init_packet(source_port, PORT), (address, 0))
        assert heard(inside, SHORT_S) is None
