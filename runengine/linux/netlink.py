"""Netlink messages by the standard library: what a start needs of nftables, conntrack and sockets.

Importing a whole netlink library costs more than everything that is said here (ADR 0005).
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SOCK_DIAG = 4
NETFILTER = 12

REQUEST = 0x1
ACK = 0x4
DUMP = 0x300
CREATE = 0x400

_ERROR = 2
_DONE = 3
_MULTI = 0x2
_INTERRUPTED = 0x10
_ATTEMPTS = 10
_NESTED = 0x8000
_TYPE_MASK = 0x3FFF
_SOL_NETLINK = 270
_CAP_ACK = 10
_EXT_ACK = 11
_CAPPED = 0x100
_ACK_TLVS = 0x200
_ERROR_TEXT = 1
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_BUFFER_BYTES = 4 << 20
_RECEIVE_BYTES = 1 << 18
_TIMEOUT_S = 30


class NetlinkError(OSError):
    """The kernel refused a request; the text has its own words where it has some."""

    def __init__(self, code: int, position: int = 0, words: str = "") -> None:
        text = os.strerror(code)
        super().__init__(code, f"{words.rstrip('.')} ({text})" if words else text)
        self.position = position
        """Of the request among those that were sent together."""


class Message(NamedTuple):
    """One message to the kernel, without its header."""

    type: int
    flags: int
    body: bytes


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    size = len(value) + 4
    return _ATTRIBUTE.pack(size, kind) + value + bytes(-size % 4)


def nested(kind: int, *values: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | _NESTED, b"".join(values))


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes in ``data`` by kind, the last of each."""
    return dict(each_attribute(data))


def each_attribute(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in ``data`` in order: kind and value."""
    position = 0
    while position + 4 <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, position)
        if size < 4:
            return
        yield kind & _TYPE_MASK, data[position + 4 : position + size]
        position += size + 3 & ~3


@contextmanager
def connected(family: int) -> Iterator[socket.socket]:
    """A socket to the kernel, in the calling thread's network namespace."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
    try:
        sock.settimeout(_TIMEOUT_S)
        sock.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        sock.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        for option in (_SO_SNDBUFFORCE, _SO_RCVBUFFORCE):
            # A big transaction is one datagram. Only root of the first user namespace may.
            with suppress(PermissionError):
                sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        sock.bind((0, 0))
        yield sock
    finally:
        if family == NETFILTER:
            _close_aside(sock)
        else:
            sock.close()


def _close_aside(sock: socket.socket) -> None:
    """Closing waits, asleep, until the kernel has freed what was deleted: 10 to 20 ms.

    The interpreter waits for the thread at its end; one that it does not know of can crash it.
    """
    import threading

    try:
        threading.Thread(target=sock.close).start()
    except RuntimeError:  # no thread to be had
        sock.close()


def send(family: int, messages: Sequence[Message]) -> None:
    """Send all messages as one datagram and wait for the last acknowledgement asked for.

    Raises NetlinkError with the first refusal.
    """
    last = max(index for index, message in enumerate(messages) if message.flags & ACK)
    refusal: NetlinkError | None = None
    with connected(family) as sock:
        sock.send(datagram(messages))
        answered = -1
        while answered < last:
            for sequence, kind, flags, body in _received(sock):
                if kind != _ERROR:
                    continue
                answered = sequence
                error = refused(body, flags, sequence)
                if error is None or refusal is not None:
                    continue
                refusal = error
                if sequence == 0 and len(messages) > 1:
                    # The head of a batch stands for the batch: nothing more will come.
                    answered = last
    if refusal is not None:
        raise refusal


def ask(family: int, message: Message) -> list[tuple[int, bytes]]:
    """Send a question; returns the type and the body of each message of the answer.

    A list that the kernel changed while it gave it is asked for anew. Raises NetlinkError.
    """
    for _ in range(_ATTEMPTS):
        with connected(family) as sock:
            sock.send(datagram([message]))
            answer = _answer(sock)
        if answer is not None:
            return answer
    raise OSError("netlink: the list changed each time while it was read")


def _answer(sock: socket.socket) -> list[tuple[int, bytes]] | None:
    """None if the list is not all of one moment."""
    found: list[tuple[int, bytes]] = []
    whole = True
    while True:
        for _, kind, flags, body in _received(sock):
            whole = whole and not flags & _INTERRUPTED
            if kind == _ERROR:
                error = refused(body, flags, 0)
                if error is not None:
                    raise error
            if kind in (_ERROR, _DONE):
                return found if whole else None
            found.append((kind, body))
            if not flags & _MULTI:
                return found


def datagram(messages: Sequence[Message]) -> bytes:
    """The messages as they are sent; each one's sequence number is its index."""
    parts = []
    for index, message in enumerate(messages):
        size = _HEADER.size + len(message.body)
        parts += [_HEADER.pack(size, message.type, message.flags, index, 0), message.body]
    return b"".join(parts)


def _received(sock: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    """The messages of the next datagram: sequence number, type, flags, body."""
    data = sock.recv(_RECEIVE_BYTES)
    position = 0
    while position + _HEADER.size <= len(data):
        size, kind, flags, sequence, _ = _HEADER.unpack_from(data, position)
        yield sequence, kind, flags, data[position + _HEADER.size : position + size]
        position += max(_HEADER.size, size + 3 & ~3)


def refused(body: bytes, flags: int, position: int) -> NetlinkError | None:
    """What an acknowledgement (its text without header) says; None if all went well."""
    (code,) = struct.unpack_from("=i", body)
    return NetlinkError(-code, position, _words(body, flags)) if code else None


def _words(body: bytes, flags: int) -> str:
    """The kernel's explanation, which follows what the acknowledgement repeats of the request."""
    if not flags & _ACK_TLVS:
        return ""
    (repeated,) = struct.unpack_from("=I", body, 4)
    begin = 4 + (_HEADER.size if flags & _CAPPED else (repeated + 3) & ~3)
    return attributes(body[begin:]).get(_ERROR_TEXT, b"").rstrip(b"\0").decode(errors="replace")
