"""The bytes of a transaction (nfnetlink), and how the kernel's answers are read."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from runengine.linux import netlink
from runengine.linux.netlink import NetlinkError
from runengine.netns import elements, nftables
from runengine.netns.types import Published

WEB = Published("tcp", "0.0.0.0", 8080, "10.0.0.2", 80)

BEGIN = "14000000 1000 0100 00000000 00000000  00 00 000a"
NEW = (
    "54000000 0c0a 0504 01000000 00000000  01 00 0000"
    "0600 0100 74 00 0000"  # NFTA_SET_ELEM_LIST_TABLE "t"
    "1000 0200 65766572797768657265 34 00"  # …_SET "everywhere4"
    "2800 0380"  # …_ELEMENTS
    "2400 0180"  # NFTA_LIST_ELEM
    "1000 0180 0c00 0100 06000000 1f900000"  # NFTA_SET_ELEM_KEY, NFTA_DATA_VALUE
    "1000 0280 0c00 0100 0a000002 00500000"  # NFTA_SET_ELEM_DATA
)
END = "14000000 1100 0100 02000000 00000000  00 00 000a"


def test_a_transaction():
    messages = nftables.added("t", nftables.encode(elements.of_all([WEB])))
    sent = netlink.datagram(nftables.transaction(messages))
    assert split(sent) == [bytes.fromhex(part) for part in (BEGIN, NEW, END)]


def split(sent: bytes) -> list[bytes]:
    found = []
    while sent:
        (size,) = struct.unpack_from("=I", sent)
        found.append(sent[:size])
        sent = sent[size:]
    return found


def test_many_elements_take_several_messages():
    """An attribute's length has sixteen bits."""
    many = [WEB._replace(host_port=1 + offset) for offset in range(3000)]
    messages = nftables.added("t", nftables.encode(elements.of_all(many)))
    assert len(messages) == 8
    assert all(len(message.body) < 65536 for message in messages)


def test_attributes_are_read_back():
    data = netlink.attribute(1, b"abc") + netlink.nested(2, netlink.attribute(3, b"x" * 4))
    assert netlink.attributes(data) == {1: b"abc", 2: netlink.attribute(3, b"xxxx")}
    assert dict(netlink.each_attribute(b"\x00\x00\x00\x00")) == {}


class Kernel:
    """Answers like the kernel's, one datagram after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: bytes) -> None:
        self.answers = list(answers)
        self.sent: list[bytes] = []
        monkeypatch.setattr(socket, "socket", lambda *_: self)
        monkeypatch.setattr(netlink, "_close_aside", lambda _: None)

    def settimeout(self, _seconds: float) -> None:
        """Always at once."""

    def setsockopt(self, *_: object) -> None:
        """All known."""

    def bind(self, _address: object) -> None:
        """Anywhere."""

    def close(self) -> None:
        """Nothing to free."""

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def recv(self, _size: int) -> bytes:
        return self.answers.pop(0)


def verdict(index: int, code: int = 0, reason: str = "") -> bytes:
    """An NLMSG_ERROR for the message with this index."""
    attributes = netlink.attribute(1, reason.encode() + b"\0") if reason else b""
    body = struct.pack("=i", -code) + bytes(16) + attributes
    flags = 0x100 | (0x200 if reason else 0)
    return struct.pack("=IHHII", 16 + len(body), 2, flags, index, 0) + body


def commit():
    nftables.commit(nftables.added("t", nftables.encode(elements.of_all([WEB]))))


def test_an_acknowledgement(monkeypatch):
    kernel = Kernel(monkeypatch, verdict(1))
    commit()
    assert len(kernel.sent) == 1


def test_the_first_refusal_is_raised(monkeypatch):
    kernel = Kernel(monkeypatch, verdict(1, errno.ENOENT, "no such set"))
    with pytest.raises(NetlinkError, match=r"no such set \(No such file or directory\)") as caught:
        commit()
    assert (caught.value.errno, caught.value.position) == (errno.ENOENT, 1)
    assert not kernel.answers


def test_a_refused_batch_is_answered_for_its_head(monkeypatch):
    Kernel(monkeypatch, verdict(0, errno.EPERM))
    with pytest.raises(NetlinkError) as caught:
        commit()
    assert caught.value.errno == errno.EPERM


def test_a_chain_that_drops():
    def chain(name: str, hook: int, policy: int) -> bytes:
        return struct.pack("!BBH", 2, 0, 0) + b"".join(
            (
                netlink.attribute(1, b"filter\0"),
                netlink.attribute(3, name.encode() + b"\0"),
                netlink.nested(4, netlink.attribute(1, struct.pack("!I", hook))),
                netlink.attribute(5, struct.pack("!I", policy)),
            )
        )

    assert nftables.chain_of(chain("FORWARD", 2, 0)) == ("ip", "filter", "FORWARD", True)
    assert not nftables.chain_of(chain("FORWARD", 2, 1)).drops_forwarded
    assert not nftables.chain_of(chain("INPUT", 1, 0)).drops_forwarded
