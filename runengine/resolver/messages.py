"""DNS messages (RFC 1035, RFC 6891): what is asked, and answers of our own."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset
import dns.wire

from runengine.resolver import packets
from runengine.resolver.packets import HEADER_SIZE, MAX_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

PLAIN_UDP_SIZE = 512
UDP_SIZE = 1232
"""More than fits in one packet of any usual link is answered by TCP."""
TTL_S = 0
"""Nobody may keep an address that is another container's a moment later."""
TRANSFERS = frozenset({dns.rdatatype.AXFR, dns.rdatatype.IXFR})


class Question(NamedTuple):
    """The one question of a query."""

    labels: tuple[bytes, ...]
    """In lower case, without the root's."""
    rdtype: int
    rdclass: int
    end: int
    """Where it ends in the message."""


class Unanswerable(Exception):
    """A query that gets an error code at most."""

    def __init__(self, rcode: int | None) -> None:
        super().__init__(rcode)
        self.rcode = rcode
        """None: no answer at all."""


def read_question(query: bytes) -> Question:
    """What a query asks. Raises Unanswerable."""
    if len(query) < HEADER_SIZE:
        raise Unanswerable(None)
    _, flags, questions = struct.unpack_from("!HHH", query)
    if flags & packets.RESPONSE:  # to answer answers is how two servers keep each other busy
        raise Unanswerable(None)
    if flags & packets.OPCODE:
        raise Unanswerable(packets.NOTIMP)
    if questions != 1:
        raise Unanswerable(packets.FORMERR)
    try:
        parser = dns.wire.Parser(query, HEADER_SIZE)
        name = parser.get_name()
        rdtype, rdclass = parser.get_struct("!HH")
    except dns.exception.DNSException:
        raise Unanswerable(packets.FORMERR) from None
    labels = name.labels[:-1]
    if sum(map(len, labels)) + len(labels) + 1 != parser.current - HEADER_SIZE - 4:
        raise Unanswerable(packets.FORMERR)  # a compressed question: nothing before it to share
    lowered = tuple(label.lower() for label in labels)
    return Question(lowered, rdtype, rdclass, parser.current)


def address_in(labels: Sequence[bytes]) -> str | None:
    """The address that a reverse name stands for; None if it is no such name."""
    if labels[-1:] != (b"arpa",):
        return None
    try:
        return dns.reversename.to_address(dns.name.Name((*labels, b"")))
    except (dns.exception.DNSException, ValueError):
        return None


def addresses(rdtype: int, found: Sequence[str]) -> list[dns.rdata.Rdata]:
    """Those of the asked-for family as records; of both for ANY, of none for other types."""
    records = [_address(address) for address in found]
    return [record for record in records if rdtype in (record.rdtype, dns.rdatatype.ANY)]


def _address(address: str) -> dns.rdata.Rdata:
    if ":" in address:
        return _record(dns.rdatatype.AAAA, socket.inet_pton(socket.AF_INET6, address))
    return _record(dns.rdatatype.A, socket.inet_pton(socket.AF_INET, address))


def _record(rdtype: dns.rdatatype.RdataType, data: bytes) -> dns.rdata.Rdata:
    return dns.rdata.from_wire(dns.rdataclass.IN, rdtype, data, 0, len(data))


def pointer(name: str) -> dns.rdata.Rdata:
    """The record that names an address. Raises Unanswerable for a name that is too long."""
    try:
        target = dns.name.Name((*name.encode(errors="surrogateescape").split(b"."), b""))
    except dns.exception.DNSException:
        raise Unanswerable(packets.SERVFAIL) from None
    return _record(dns.rdatatype.PTR, target.to_wire() or b"")


def answer(query: bytes, records: Sequence[dns.rdata.Rdata], *, stream: bool) -> bytes:
    """The response with these records, or with none: the name has nothing of that type.

    Over UDP as many as the asker can take, and the flag that there are more. Raises Unanswerable
    for a query that is malformed after its question.
    """
    try:
        asked = dns.message.from_wire(query)
    except dns.exception.DNSException:
        raise Unanswerable(packets.FORMERR) from None
    if asked.edns > 0:
        return _bad_version(asked)
    limit = MAX_SIZE if stream else _udp_limit(asked)
    response = _response(asked, records)
    try:
        return response.to_wire(max_size=limit)
    except dns.exception.TooBig:
        return _truncated(asked, records, limit)


def _bad_version(asked: dns.message.Message) -> bytes:
    """A version of EDNS that is none yet (RFC 6891, 6.1.3)."""
    response = dns.message.make_response(asked, our_payload=UDP_SIZE)
    response.set_rcode(dns.rcode.BADVERS)
    return response.to_wire()


def _udp_limit(asked: dns.message.Message) -> int:
    if asked.edns < 0:
        return PLAIN_UDP_SIZE
    return max(PLAIN_UDP_SIZE, min(asked.payload, UDP_SIZE))


def _response(
    asked: dns.message.Message, records: Sequence[dns.rdata.Rdata]
) -> dns.message.Message:
    response = dns.message.make_response(asked, recursion_available=True, our_payload=UDP_SIZE)
    response.flags |= dns.flags.AA | asked.flags & dns.flags.CD
    name = asked.question[0].name
    # A set each, as dnspython shuffles the records of a set and the order is decided elsewhere.
    response.answer += [dns.rrset.from_rdata(name, TTL_S, record) for record in records]
    return response


def _truncated(
    asked: dns.message.Message, records: Sequence[dns.rdata.Rdata], limit: int
) -> bytes:
    room = limit - len(_response(asked, ()).to_wire())
    each = max(len(record.to_wire() or b"") + HEADER_SIZE for record in records)
    response = _response(asked, records[: room // each])
    response.flags |= dns.flags.TC
    return response.to_wire(max_size=limit)
