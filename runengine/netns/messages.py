"""What is said to the kernel about links, addresses and routes (rtnetlink(7), linux/if_link.h).

pyroute2 could write all of it, but its descriptions of the messages take 35 ms of CPU time to be
imported, several times what a container's network takes. It reads the answers (answers.py).
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

from runengine.linux.netlink import attribute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26

CREATE = 0x600
"""NLM_F_CREATE and NLM_F_EXCL: it must not be there yet."""
REPLACE = 0x500
"""NLM_F_CREATE and NLM_F_REPLACE: take the place of the one that is there."""
DUMP = 0x300
"""NLM_F_DUMP: all of them."""

IFF_UP = 0x1
UP = {"flags": IFF_UP, "change": IFF_UP}
"""Fields of a link that shall be up."""

Attributes = list[tuple[str, Any]]
"""Names as in the kernel's headers, and values; ``nested`` makes a value of attributes."""


_HEADER = struct.Struct("=IHHII")
# The fixed parts, by the number of the group of commands: new, delete, get and set come in fours.
_FIXED = {
    RTM_NEWLINK // 4: ("=BxHiII", ("family", "type", "index", "flags", "change")),
    RTM_NEWADDR // 4: ("=BBBBI", ("family", "prefixlen", "flags", "scope", "index")),
    RTM_NEWROUTE // 4: (
        "=BBBBBBBBI",
        ("family", "dst_len", "src_len", "tos", "table", "proto", "scope", "type", "flags"),
    ),
}


def request(
    command: int,
    attributes: Attributes,
    fields: Mapping[str, int] | None = None,
    *,
    flags: int = 0,
) -> bytearray:
    """One message; ``fields`` are those of the command's fixed part, by the kernel's names."""
    body = _fixed(command, fields or {}) + _encoded(attributes)
    return bytearray(_HEADER.pack(_HEADER.size + len(body), command, flags, 0, 0) + body)


def nested(*attributes: tuple[str, Any]) -> Attributes:
    """A value that is a list of attributes itself."""
    return list(attributes)


def _fixed(command: int, fields: Mapping[str, int]) -> bytes:
    layout, names = _FIXED[command // 4]
    if not fields.keys() <= set(names):
        raise ValueError(f"no such fields in message {command}: {fields.keys() - set(names)}")
    return struct.pack(layout, *(fields.get(name, 0) for name in names))


def _encoded(attributes: Iterable[tuple[str, Any]]) -> bytes:
    parts = []
    for name, value in attributes:
        number, encode = _ATTRIBUTES[name]
        parts.append(attribute(number, encode(value)))
    return b"".join(parts)


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _number(layout: str) -> Callable[[int], bytes]:
    return struct.Struct(layout).pack


def _mac(value: str) -> bytes:
    return bytes.fromhex(value.replace(":", ""))


def _address(value: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in value else socket.AF_INET, value)


def _other_end(attributes: Attributes) -> bytes:
    """A veth pair's other end is described as a link is."""
    return _fixed(RTM_NEWLINK, {}) + _encoded(attributes)


_BYTE, _SHORT, _WORD = _number("=B"), _number("=H"), _number("=I")
_ATTRIBUTES: dict[str, tuple[int, Callable[[Any], bytes]]] = {
    "IFLA_ADDRESS": (1, _mac),
    "IFLA_IFNAME": (3, _text),
    "IFLA_MTU": (4, _WORD),
    "IFLA_LINK": (5, _WORD),
    "IFLA_MASTER": (10, _WORD),
    "IFLA_LINKINFO": (18, _encoded),
    "IFLA_IFALIAS": (20, _text),
    "IFLA_AF_SPEC": (26, _encoded),
    "IFLA_NET_NS_FD": (28, _WORD),
    "IFLA_EXT_MASK": (29, _WORD),
    "IFLA_IF_NETNSID": (46, _WORD),
    # In IFLA_LINKINFO, and what is in its data by kind.
    "IFLA_INFO_KIND": (1, _text),
    "IFLA_INFO_DATA": (2, _encoded),
    "IFLA_INFO_SLAVE_KIND": (4, _text),
    "IFLA_INFO_SLAVE_DATA": (5, _encoded),
    "VETH_INFO_PEER": (1, _other_end),
    "IFLA_BRPORT_MODE": (4, _BYTE),
    "IFLA_BRPORT_ISOLATED": (33, _BYTE),
    "IFLA_VLAN_ID": (1, _SHORT),
    "IFLA_MACVLAN_MODE": (1, _WORD),
    "IFLA_IPVLAN_MODE": (1, _SHORT),
    # In IFLA_AF_SPEC.
    "AF_INET6": (socket.AF_INET6, _encoded),
    "IFLA_INET6_ADDR_GEN_MODE": (8, _BYTE),
    "IFA_ADDRESS": (1, _address),
    "IFA_LOCAL": (2, _address),
    "IFA_BROADCAST": (4, _address),
    "RTA_DST": (1, _address),
    "RTA_OIF": (4, _WORD),
    "RTA_GATEWAY": (5, _address),
}
"""Number in its list, and form of its value, of each attribute that is sent."""
