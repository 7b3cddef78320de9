"""DNS messages as bytes (RFC 1035, 4.1): what can be said without reading a name."""

from __future__ import annotations

import struct

HEADER_SIZE = 12
MAX_SIZE = 65535
FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 1, 2, 3, 4, 5
RESPONSE = 0x8000
OPCODE = 0x7800
RCODE = 0x000F
_RECURSION_AVAILABLE = 0x0080
_REPEATED = OPCODE | 0x0110
"""Of a query's flags: also that recursion is desired, and checking disabled."""


def error(query: bytes, rcode: int, end: int | None = None) -> bytes:
    """A response with nothing but a code; ``end``: where the question ends, to repeat it."""
    (flags,) = struct.unpack_from("!H", query, 2)
    flags = RESPONSE | flags & _REPEATED | _RECURSION_AVAILABLE | rcode
    count, question = (0, b"") if end is None else (1, query[HEADER_SIZE:end])
    return query[:2] + struct.pack("!HHHHH", flags, count, 0, 0, 0) + question


def matches(query: bytes, end: int, response: bytes) -> bool:
    """Whether a server's message answers this query: id, response flag, opcode and question.

    ``end``: where the question ends in the query. A server that did not understand it may leave
    it out.
    """
    if len(response) < HEADER_SIZE or response[:2] != query[:2]:
        return False
    flags, count = struct.unpack_from("!HH", response, 2)
    if not flags & RESPONSE or flags & OPCODE:
        return False
    if count == 0:
        return bool(flags & RCODE)
    return count == 1 and response[HEADER_SIZE:end].lower() == query[HEADER_SIZE:end].lower()


def rcode_of(response: bytes) -> int:
    """The code of a response, without EDNS's upper bits."""
    return response[3] & RCODE
