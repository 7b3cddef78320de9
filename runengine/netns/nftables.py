"""Changing an nftables table: elements by netlink messages, whole tables by the program ``nft``.

In a message a key or a value is a row of registers: each part padded to four bytes, numbers in
network order (nfnetlink; linux/netfilter/nf_tables.h).
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import EngineError, Unavailable, Unsupported
from runengine.linux import netlink
from runengine.linux.netlink import Message, NetlinkError, attribute, nested
from runengine.netns.elements import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from runengine.netns.elements import Element

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}

_GET_TABLE, _GET_CHAIN = 1, 4
_NEW_ELEMENT, _GET_ELEMENT, _DELETE_ELEMENT = 12, 13, 14
_SUBSYSTEM = 10
_BATCH_BEGIN, _BATCH_END = 16, 17
_INET = 1
_FAMILIES = {_INET: "inet", 2: "ip", 10: "ip6"}
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _HOOK_NUMBER = 1, 3, 4, 5, 1
_TABLE_NAME, _TABLE_USERDATA = 1, 6
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS, _LIST_ELEMENT = 1, 2, 3, 1
_KEY, _DATA, _KEY_END, _VALUE = 1, 2, 10, 1
_IFNAME_BYTES = 16
_PER_MESSAGE = 400
"""An attribute holds less than 64 KiB; no element takes more than 140 bytes."""
_NFT_TIMEOUT_S = 120


class Stored(NamedTuple):
    """An element as the kernel has it."""

    set: str
    key: bytes
    value: bytes
    key_end: bytes

    def overlaps(self, other: Stored) -> bool:
        """Whether some key belongs to both, part by part (all parts have their own four bytes)."""
        if self.set != other.set:
            return False
        ends = (self.key_end or self.key, other.key_end or other.key)
        return all(
            self.key[at : at + 4] <= ends[1][at : at + 4]
            and other.key[at : at + 4] <= ends[0][at : at + 4]
            for at in range(0, len(self.key), 4)
        )


class Chain(NamedTuple):
    """A chain of any table on the host."""

    family: str
    """``ip``, ``ip6`` or ``inet``; empty for others."""
    table: str
    name: str
    drops_forwarded: bool
    """Whether forwarded packets that it does not accept are lost."""


def encode(elements: Iterable[Element]) -> list[Stored]:
    """As the kernel has them."""
    found = []
    for element in elements:
        kind = KINDS[element.set]
        key, end = (registers(kind.key, part) for part in (element.key, element.key_end))
        found.append(Stored(element.set, key, registers(kind.value, element.value), end))
    return found


def added(table: str, elements: Sequence[Stored]) -> list[Message]:
    """Messages that add what is not there; a key that has another value fails (EEXIST)."""
    return _changes(table, _NEW_ELEMENT, netlink.REQUEST | netlink.CREATE, elements)


def deleted(table: str, elements: Sequence[Stored]) -> list[Message]:
    """Messages that delete by key; one that is not there fails (ENOENT)."""
    return _changes(table, _DELETE_ELEMENT, netlink.REQUEST, elements)


def transaction(messages: Sequence[Message]) -> list[Message]:
    """All of the messages or none; the last is to be acknowledged."""
    last = messages[-1]
    body = struct.pack("!BBH", 0, 0, _SUBSYSTEM)
    return [
        Message(_BATCH_BEGIN, netlink.REQUEST, body),
        *messages[:-1],
        last._replace(flags=last.flags | netlink.ACK),
        Message(_BATCH_END, netlink.REQUEST, body),
    ]


def commit(messages: Sequence[Message]) -> None:
    """Carry them out in one transaction. Raises NetlinkError with the first that failed."""
    netlink.send(netlink.NETFILTER, transaction(messages))


def dump(table: str, name: str) -> list[Stored]:
    """All elements of a set. Raises NetlinkError."""
    message = _message(table, _GET_ELEMENT, netlink.REQUEST | netlink.DUMP, name, [])
    answer = netlink.ask(netlink.NETFILTER, message)
    return [stored for _, body in answer for stored in _stored(name, body)]


def comment(table: str) -> str | None:
    """The table's comment, or None where there is no such table."""
    body = struct.pack("!BBH", _INET, 0, 0) + attribute(_TABLE_NAME, table.encode() + b"\0")
    message = Message(_SUBSYSTEM << 8 | _GET_TABLE, netlink.REQUEST, body)
    try:
        answer = netlink.ask(netlink.NETFILTER, message)
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    userdata = netlink.attributes(answer[0][1][4:]).get(_TABLE_USERDATA, b"")
    # Type, length, text and a NUL: libnftnl's own format, of which a comment is the first.
    return userdata[2 : 2 + userdata[1]].rstrip(b"\0").decode() if len(userdata) > 2 else ""


def chains() -> list[Chain]:
    """Every chain of every table, the host's own ones too. Raises NetlinkError."""
    flags = netlink.REQUEST | netlink.DUMP
    answer = netlink.ask(netlink.NETFILTER, Message(_SUBSYSTEM << 8 | _GET_CHAIN, flags, bytes(4)))
    return [chain_of(body) for _, body in answer]


def chain_of(body: bytes) -> Chain:
    """The chain that a message of the kernel's describes."""
    found = netlink.attributes(body[4:])
    table, name = (found[kind].rstrip(b"\0").decode() for kind in (_CHAIN_TABLE, _CHAIN_NAME))
    hook = netlink.attributes(found.get(_CHAIN_HOOK, b"")).get(_HOOK_NUMBER, b"")
    # NF_INET_FORWARD is 2; a policy of 0 is NF_DROP. A chain without a hook has neither.
    forwards = int.from_bytes(hook) == 2
    drops = forwards and found.get(_CHAIN_POLICY) == bytes(4)
    return Chain(_FAMILIES.get(body[0], ""), table, name, drops)


def run(text: str, what: str) -> None:
    """Have ``nft`` carry out the text in one transaction. Raises an EngineError."""
    import subprocess  # not for those who only change elements: 3 ms

    try:
        done = subprocess.run(
            ["nft", "-f", "-"],
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_NFT_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise Unavailable(
            f"cannot {what}: the program nft is missing",
            resolution="install nftables (apt-get install nftables)",
        ) from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"cannot {what}: nft took more than {_NFT_TIMEOUT_S} s") from None
    if done.returncode:
        raise EngineError(f"cannot {what}: nft refused it", details=done.stderr.strip())


def refused(what: str, error: OSError) -> EngineError:
    """The error for the operator when the kernel did not do ``what``."""
    if error.errno in (errno.EPROTONOSUPPORT, errno.EOPNOTSUPP):
        return Unsupported(
            f"cannot {what}: this kernel has no nftables (CONFIG_NF_TABLES)",
            details=error.strerror or str(error),
        )
    if error.errno == errno.EPERM:
        return EngineError(
            f"cannot {what}",
            details=error.strerror or str(error),
            resolution="it takes CAP_NET_ADMIN",
        )
    return EngineError(f"cannot {what}", details=error.strerror or str(error))


def registers(types: Sequence[str], parts: Sequence[str]) -> bytes:
    """A key or a value as the kernel has it."""
    return b"".join(map(_register, types, parts))


def _register(kind: str, part: str) -> bytes:
    if kind == "ifname":
        return part.encode().ljust(_IFNAME_BYTES, b"\0")
    if kind == "ipv4_addr":
        return socket.inet_pton(socket.AF_INET, part)
    if kind == "ipv6_addr":
        return socket.inet_pton(socket.AF_INET6, part)
    if kind == "inet_proto":
        return bytes((PROTOCOLS[part], 0, 0, 0))
    return struct.pack("!Hxx", int(part))


def _changes(table: str, command: int, flags: int, elements: Sequence[Stored]) -> list[Message]:
    """Elements of one set go in one message, as many as it holds."""
    groups: dict[str, list[Stored]] = {}
    for element in elements:
        groups.setdefault(element.set, []).append(element)
    return [
        _message(table, command, flags, name, group[start : start + _PER_MESSAGE])
        for name, group in groups.items()
        for start in range(0, len(group), _PER_MESSAGE)
    ]


def _message(
    table: str, command: int, flags: int, name: str, elements: Sequence[Stored]
) -> Message:
    parts = [
        struct.pack("!BBH", _INET, 0, 0),
        attribute(_LIST_TABLE, table.encode() + b"\0"),
        attribute(_LIST_SET, name.encode() + b"\0"),
    ]
    if elements:
        parts.append(nested(_LIST_ELEMENTS, *map(_element, elements)))
    return Message(_SUBSYSTEM << 8 | command, flags, b"".join(parts))


def _element(element: Stored) -> bytes:
    fields = ((_KEY, element.key), (_DATA, element.value), (_KEY_END, element.key_end))
    return nested(
        _LIST_ELEMENT,
        *(nested(field, attribute(_VALUE, value)) for field, value in fields if value),
    )


def _stored(name: str, body: bytes) -> Iterator[Stored]:
    listed = netlink.attributes(body[4:]).get(_LIST_ELEMENTS, b"")
    for _, data in netlink.each_attribute(listed):
        fields = netlink.attributes(data)
        key, value, end = (
            netlink.attributes(fields.get(field, b"")).get(_VALUE, b"")
            for field in (_KEY, _DATA, _KEY_END)
        )
        yield Stored(name, key, value, end)
