"""Acknowledgements as the kernel writes them (netlink(7), NETLINK_EXT_ACK)."""

import errno
import struct

import pytest

from runengine.netns import netlink

CAPPED, WITH_ATTRIBUTES = 0x100, 0x200
WORDS = b"\x13\x00\x01\x00Device is busy\x00\x00"


def acknowledgement(code: int, *, repeated: int = 0, tail: bytes = b"") -> memoryview:
    """Header, error, and what is repeated of the request: its header and some of its text."""
    request = struct.pack("=IHHII", 16 + repeated, 16, 0, 1, 0) + bytes(repeated)
    body = struct.pack("=i", -code) + request + tail
    return memoryview(struct.pack("=IHHII", 16 + len(body), 2, 0, 1, 0) + body)


def test_success_is_no_error():
    assert netlink._error(acknowledgement(0), 0, 0) is None


def test_an_error_has_its_position():
    error = netlink._error(acknowledgement(errno.EBUSY), CAPPED, 3)
    assert error is not None
    assert (error.errno, error.position) == (errno.EBUSY, 3)
    assert error.strerror == "Device or resource busy"


@pytest.mark.parametrize(
    ("flags", "repeated"), [(CAPPED | WITH_ATTRIBUTES, 0), (WITH_ATTRIBUTES, 20)]
)
def test_the_kernels_words_are_found(flags, repeated):
    message = acknowledgement(errno.EBUSY, repeated=repeated, tail=WORDS)
    error = netlink._error(message, flags, 0)
    assert error is not None
    assert error.strerror == "Device is busy (Device or resource busy)"


@pytest.mark.parametrize("tail", [b"", b"\x02", b"\x00\x00\x00\x00", WORDS[:6]])
def test_words_that_do_not_parse_are_none(tail):
    message = acknowledgement(errno.EBUSY, tail=tail)
    error = netlink._error(message, CAPPED | WITH_ATTRIBUTES, 0)
    assert error is not None
    assert error.errno == errno.EBUSY


def test_errors_are_os_errors_and_keep_their_kind_of_text():
    assert isinstance(netlink.NetlinkError(errno.EPERM), OSError)
    assert str(netlink.NetlinkError(errno.EPERM, 0, "Not you.")) == (
        "[Errno 1] Not you (Operation not permitted)"
    )
