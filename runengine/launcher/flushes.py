"""Hears that the engine's nftables table was flushed, so that it is back at once.

Firewalls that are reloaded flush all tables (``systemctl reload nftables``). The kernel tells
whoever listens to the group of nf_tables (linux/netfilter/nfnetlink.h) of each change; what starts
and stops of containers say, elements alone, is filtered out there and wakes nobody.
"""

from __future__ import annotations

import array
import errno
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from runengine.linux import netlink

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

_GROUPS = 1 << 6  # NFNLGRP_NFTABLES is the seventh
_SUBSYSTEM = 10 << 8
_NEW_TABLE, _DELETE_TABLE = _SUBSYSTEM, _SUBSYSTEM | 2
_ELEMENTS = (_SUBSYSTEM | 12, _SUBSYSTEM | 14, _SUBSYSTEM | 15)
"""Types of messages that elements bring: new ones, deleted ones, the ruleset's number."""
_TABLE_NAME = 1
_HEADER_BYTES = 16
_NFGENMSG_BYTES = 4
_SO_ATTACH_FILTER = 26
_LOAD_HALF, _JUMP_EQUAL, _RETURN = 0x28, 0x15, 0x06  # classic BPF (linux/bpf_common.h)
_RECEIVE_BYTES = 1 << 16
_AT_ONCE = 64


class Flushes:
    """A socket that is readable when tables have changed, in the network namespace we are in."""

    def __init__(self, table: str) -> None:
        """Raises OSError."""
        self._name = table.encode() + b"\0"
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, netlink.NETFILTER
        )
        try:
            self._socket.settimeout(0)
            _ignore_elements(self._socket)
            self._socket.bind((0, _GROUPS))
        except OSError:
            self._socket.close()
            raise

    @classmethod
    def of(cls, table: str) -> Self | None:
        """One, or None where the kernel has no nf_tables or does not let us."""
        with suppress(OSError):
            return cls(table)
        return None

    def fileno(self) -> int:
        """For a poll."""
        return self._socket.fileno()

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()

    def forget(self) -> None:
        """In a child: the descriptor's number will be another file's."""
        self._socket.detach()

    def heard(self) -> bool:
        """Read what has come; whether our table may have gone, by whoever's hand."""
        gone = False
        for _ in range(_AT_ONCE):
            try:
                for kind in self._changes(self._socket.recv(_RECEIVE_BYTES)):
                    # A table that is written anew goes and comes in one transaction.
                    gone = kind == _DELETE_TABLE
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    break
                gone = True  # too much at once: better to look in vain
        return gone

    def _changes(self, datagram: bytes) -> list[int]:
        """Types of the messages that are about our table itself."""
        return [
            kind
            for kind, body in _messages(datagram)
            if kind in (_NEW_TABLE, _DELETE_TABLE)
            and netlink.attributes(body).get(_TABLE_NAME) == self._name
        ]


class Mender:
    """Has the table looked after when a flush was heard, once at a time."""

    def __init__(self, flushes: Flushes | None, run: Callable[[], int]) -> None:
        """``run`` starts a child that writes the table anew if it is gone; its pid, or 0."""
        self._flushes = flushes
        self._run = run
        self._pid = 0
        self._again = False

    def fileno(self) -> int:
        """For a poll; -1 if nothing can be heard."""
        return -1 if self._flushes is None else self._flushes.fileno()

    def hear(self) -> None:
        """Something has come; where it was our own change the child finds nothing to do."""
        if self._flushes is None or not self._flushes.heard():
            return
        if self._pid:
            self._again = True
        else:
            self._pid = self._run()

    def ended(self, pid: int) -> bool:
        """A child has ended; whether it was that one."""
        if not pid or pid != self._pid:
            return False
        self._pid = 0
        if self._again:
            self._again = False
            self._pid = self._run()
        return True

    def forget(self) -> None:
        """In a child of ours."""
        if self._flushes is not None:
            self._flushes.forget()


def _messages(datagram: bytes) -> list[tuple[int, bytes]]:
    """Types and attributes."""
    found = []
    position = 0
    while position + _HEADER_BYTES <= len(datagram):
        size, kind = struct.unpack_from("=IH", datagram, position)
        begin = position + _HEADER_BYTES + _NFGENMSG_BYTES
        found.append((kind, datagram[begin : position + size]))
        position += max(_HEADER_BYTES, size + 3 & ~3)
    return found


def _ignore_elements(sock: socket.socket) -> None:
    """Let the kernel drop datagrams by the type of their first message."""
    drop = len(_ELEMENTS) + 2
    program = [(_LOAD_HALF, 0, 0, 4)]
    for at, kind in enumerate(_ELEMENTS, start=1):
        # What is loaded is in network order, what is in the message in ours.
        program.append((_JUMP_EQUAL, drop - at - 1, 0, socket.htons(kind)))
    program += [(_RETURN, 0, 0, 0xFFFFFFFF), (_RETURN, 0, 0, 0)]
    code = array.array("B", b"".join(struct.pack("=HBBI", *line) for line in program))
    address, _ = code.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(program), address))
