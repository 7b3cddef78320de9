"""A conversation with the kernel about one network namespace (netlink(7), rtnetlink(7)).

Several requests go out in one datagram. The kernel carries them out in order before the sending
returns, and goes on after one that failed; so an interface takes two or three system calls,
however many addresses and routes it has.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

from runengine.linux.netlink import NetlinkError as NetlinkError
from runengine.linux.netlink import each_attribute, refused
from runengine.netns import messages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

_NETLINK_ROUTE = 0
_SOL_NETLINK = 270
_CAP_ACK, _EXT_ACK, _STRICT_CHECK = 10, 11, 12
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _INTERRUPTED = 0x01, 0x04, 0x10
_HEADER = struct.Struct("=IHHII")
_LINK_BYTES = 16  # struct ifinfomsg
_BUFFER_BYTES = 1 << 17
_DUMP_ATTEMPTS = 10


class Connection:
    """A socket in the namespace of the thread that opened it, wherever it is used."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE
        )
        for option in (_CAP_ACK, _EXT_ACK, _STRICT_CHECK):
            self._set(option)
        self._sequence = 0

    def _set(self, option: int) -> None:
        try:
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        except OSError:
            return  # an older kernel, whose answers are longer and whose words are fewer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the socket up."""
        self._socket.close()

    def execute(self, *requests: bytearray) -> None:
        """Carry out the requests in order. Raises the first NetlinkError; the rest was tried."""
        for error in self.attempt(requests):
            if error is not None:
                raise error

    def attempt(self, requests: Sequence[bytearray]) -> list[NetlinkError | None]:
        """Carry out every request, and tell of each how it ended."""
        if not requests:
            return []
        first = self._send(requests, _REQUEST | _ACK)
        outcome: dict[int, NetlinkError | None] = {}
        while len(outcome) < len(requests):
            for kind, sequence, flags, body in self._receive():
                if kind == _ERROR:
                    position = sequence - first
                    outcome[position] = _error(body, flags, position)
        return [outcome[position] for position in range(len(requests))]

    def get(self, request: bytearray) -> Any:
        """The one object that the request names. Raises NetlinkError."""
        kind, body = self._answer(request)
        return messages.parse(body, kind)

    def get_attribute(self, request: bytearray, number: int) -> bytes | None:
        """One attribute of the link that the request names, a tenth of the work. Raises as get."""
        _, body = self._answer(request)
        for kind, value in each_attribute(bytes(body[_HEADER.size + _LINK_BYTES :])):
            if kind == number:
                return value
        return None

    def _answer(self, request: bytearray) -> tuple[int, memoryview]:
        self._send([request], _REQUEST)
        for kind, _, flags, body in self._receive():
            if kind == _ERROR:
                raise _error(body, flags, 0) or NetlinkError(0)
            return kind, body
        raise OSError("netlink: an answer without a message")

    def dump(self, request: bytearray) -> list[Any]:
        """All objects; those the kernel changed while it listed them make it begin anew."""
        for _ in range(_DUMP_ATTEMPTS):
            found = self._dump(request)
            if found is not None:
                return found
        raise OSError("netlink: the list changed each time while it was read")

    def _dump(self, request: bytearray) -> list[Any] | None:
        self._send([request], _REQUEST | messages.DUMP)
        found: list[Any] = []
        whole = True
        while True:
            for kind, _, flags, body in self._receive():
                whole = whole and not flags & _INTERRUPTED
                if kind in (_ERROR, _DONE):
                    error = _error(body, flags, 0)
                    if error is not None:
                        raise error
                    return found if whole else None
                found.append(messages.parse(body, kind))

    def _send(self, requests: Sequence[bytearray], flags: int) -> int:
        first = self._sequence + 1
        for request in requests:
            self._sequence += 1
            length, kind, own_flags, _, _ = _HEADER.unpack_from(request)
            _HEADER.pack_into(request, 0, length, kind, own_flags | flags, self._sequence, 0)
            request.extend(bytes(-length % 4))
        self._socket.sendto(b"".join(requests), (0, 0))
        return first

    def _receive(self) -> Iterator[tuple[int, int, int, memoryview]]:
        """Type, sequence, flags and whole text of each message in the next datagram."""
        data = memoryview(self._socket.recv(_BUFFER_BYTES))
        while len(data) >= _HEADER.size:
            length, kind, flags, sequence, _ = _HEADER.unpack_from(data)
            yield kind, sequence, flags, data[:length]
            data = data[(length + 3) & ~3 :]


def _error(message: memoryview, flags: int, position: int) -> NetlinkError | None:
    """What an acknowledgement says, or None if all went well."""
    return refused(bytes(message[_HEADER.size :]), flags, position)
