"""A name server that does as it is told, and questions in one line."""

from __future__ import annotations

import select
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset

if TYPE_CHECKING:
    from collections.abc import Callable

    Behaviour = Callable[[bytes, bool], list[bytes]]

ADDRESS = "192.0.2.7"
"""What the server says of every name (RFC 5737: an address of nobody)."""


def reply(query: bytes, *addresses: str) -> bytes:
    """A proper answer."""
    asked = dns.message.from_wire(query)
    response = dns.message.make_response(asked, recursion_available=True)
    if asked.question[0].rdtype == dns.rdatatype.A:
        name = asked.question[0].name
        response.answer += [dns.rrset.from_text(name, 60, "IN", "A", *addresses)]
    return response.to_wire()


def honest(query: bytes, _stream: bool) -> list[bytes]:
    return [reply(query, ADDRESS)]


def silent(_query: bytes, _stream: bool) -> list[bytes]:
    return []


def failing(rcode: dns.rcode.Rcode) -> Behaviour:
    def fail(query: bytes, _stream: bool) -> list[bytes]:
        response = dns.message.make_response(dns.message.from_wire(query))
        response.set_rcode(rcode)
        return [response.to_wire()]

    return fail


def truncating(query: bytes, stream: bool) -> list[bytes]:
    """Says over UDP that there is more."""
    if stream:
        return [reply(query, *(f"192.0.2.{number}" for number in range(1, 201)))]
    response = dns.message.make_response(dns.message.from_wire(query))
    response.flags |= dns.flags.TC
    return [response.to_wire()]


class NameServer:
    """Serves UDP and TCP at an address from a thread; remembers what it was asked."""

    def __init__(self, address: str, port: int, behaviour: Behaviour = honest) -> None:
        self.behaviour = behaviour
        self.queries: list[bytes] = []
        self.sources: list[tuple[str, int]] = []
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._udp = socket.socket(family, socket.SOCK_DGRAM)
        self._udp.bind((address, port))
        self._tcp = socket.create_server((address, self.port), family=family)
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._udp.getsockname()[1])

    def names(self) -> list[str]:
        """Names that were asked for."""
        return [str(dns.message.from_wire(query).question[0].name) for query in self.queries]

    def close(self) -> None:
        self._stop.close()
        self._thread.join()
        for sock in (self._udp, self._tcp, self._stopped):
            sock.close()

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([self._udp, self._tcp, self._stopped], [], [])
            if self._stopped in ready:
                return
            if self._udp in ready:
                query, source = self._udp.recvfrom(65535)
                for response in self._answers(query, source, stream=False):
                    with suppress(OSError):
                        self._udp.sendto(response, source)
            if self._tcp in ready:
                self._converse()

    def _converse(self) -> None:
        sock, source = self._tcp.accept()
        with sock:
            sock.settimeout(5)
            head = sock.recv(2, socket.MSG_WAITALL)
            if len(head) < 2:
                return
            query = sock.recv(struct.unpack("!H", head)[0], socket.MSG_WAITALL)
            for response in self._answers(query, source, stream=True):
                sock.sendall(struct.pack("!H", len(response)) + response)

    def _answers(self, query: bytes, source: tuple[str, int], *, stream: bool) -> list[bytes]:
        self.queries.append(query)
        self.sources.append((source[0], source[1]))
        return self.behaviour(query, stream)


def ask(
    server: str,
    name: str,
    rdtype: str = "A",
    *,
    port: int = 53,
    stream: bool = False,
    source: str | None = None,
    timeout_s: float = 8.0,
) -> dns.message.Message:
    """Ask as a program in a container does."""
    send = dns.query.tcp if stream else dns.query.udp
    query = dns.message.make_query(name, rdtype)
    return send(query, server, timeout=timeout_s, port=port, source=source)


def found(message: dns.message.Message) -> list[str]:
    """The data of all records of an answer, in order."""
    return [record.to_text() for rrset in message.answer for record in rrset]
