"""Connections that the kernel tracks, where they would outlive what they were translated by.

A packet of a "connection" that is known already goes where the first one went, whatever our table
says by now. So entries are deleted when a port is published (datagrams that came before went to
the host itself, and who sent them would never reach the container) and when it is withdrawn (what
comes later would go on to an address that nobody has, or already another container).

The kernel deletes by a filter in one pass over its table, at 0.1 to 0.5 ms on an ordinary host. An
older one (Debian 12's) takes a filter for a mistake; there the entries are listed and deleted one
by one, which takes 10 ms and more; so is it for single IPv6 addresses.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import EngineError
from runengine.linux import netlink
from runengine.linux.netlink import Message, NetlinkError, attribute, attributes, nested
from runengine.netns.elements import EVERYWHERE, family_of
from runengine.netns.nftables import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runengine.netns.types import Published

_SUBSYSTEM = 1
_GET, _DELETE = 1, 2
_ORIGINAL, _REPLY, _STATUS, _ZONE, _FILTER, _STATUS_MASK = 1, 2, 3, 18, 25, 26
_IP, _PROTOCOL = 1, 2
_SOURCES, _DESTINATIONS = {4: 1, 6: 3}, {4: 2, 6: 4}
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_BY_SOURCE, _BY_DESTINATION = 1 << 0, 1 << 1
_BY_NUMBER, _BY_SOURCE_PORT, _BY_DESTINATION_PORT = 1 << 3, 1 << 4, 1 << 5
_REDIRECTED = (1 << 5, 1 << 5)
_UNTRANSLATED = (0, 1 << 4 | 1 << 5)
"""By the status bits IPS_SRC_NAT and IPS_DST_NAT."""
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_DELETED_AT_ONCE = 500
_FILTERS = 8
"""So many passes of the kernel's cost less than one list of ours."""


class Filter(NamedTuple):
    """Chooses connections of one family and protocol; what is empty or 0 does not matter."""

    family: int
    protocol: str
    destination: str = ""
    port: int = 0
    """Where the first packet was sent to."""
    answering: str = ""
    answering_port: int = 0
    """Where the answers come from."""
    status: tuple[int, int] = (0, 0)
    """Bits, and which of them matter."""

    @property
    def is_kernels(self) -> bool:
        """Whether the kernel can choose. Its comparison of IPv6 addresses is upside down (it takes
        all but the one that is asked for, 6.18 too), so it must not be asked for any.
        """
        return self.family == 4 or not (self.destination or self.answering)

    def encoded(self) -> bytes:
        """As attributes of a message to the kernel."""
        original, by_original = self._side(_DESTINATIONS, self.destination, 0, self.port)
        reply, by_reply = self._side(_SOURCES, self.answering, self.answering_port, 0)
        flags = [attribute(kind, struct.pack("=I", by))
                 for kind, by in ((_ORIGINAL, by_original), (_REPLY, by_reply))]  # fmt: skip
        found = nested(_ORIGINAL, original) + nested(_REPLY, reply) + nested(_FILTER, *flags)
        if self.status[1]:
            for kind, bits in zip((_STATUS, _STATUS_MASK), self.status, strict=True):
                found += attribute(kind, struct.pack("!I", bits))
        return found

    def _side(
        self, kinds: dict[int, int], address: str, source_port: int, destination_port: int
    ) -> tuple[bytes, int]:
        """One direction's tuple, and the flags that say what of it matters."""
        service = [attribute(_NUMBER, bytes((PROTOCOLS[self.protocol],)))]
        by = _BY_NUMBER
        for kind, flag, port in (
            (_SOURCE_PORT, _BY_SOURCE_PORT, source_port),
            (_DESTINATION_PORT, _BY_DESTINATION_PORT, destination_port),
        ):
            if port:
                service.append(attribute(kind, struct.pack("!H", port)))
                by |= flag
        found = nested(_PROTOCOL, *service)
        if address and self.is_kernels:
            packed = socket.inet_pton(_FAMILIES[self.family], address)
            found += nested(_IP, attribute(kinds[self.family], packed))
            by |= _BY_SOURCE if kinds is _SOURCES else _BY_DESTINATION
        return found, by

    def matches(self, entry: Tracked) -> bool:
        """For what the kernel does not filter."""
        bits, mask = self.status
        return (
            entry.protocol == PROTOCOLS[self.protocol]
            and self.destination in ("", entry.destination)
            and self.port in (0, entry.port)
            and self.answering in ("", entry.answering)
            and self.answering_port in (0, entry.answering_port)
            and entry.status & mask == bits
        )


class Tracked(NamedTuple):
    """A connection as it was listed; ``identity`` are the attributes by which it is deleted."""

    protocol: int
    destination: str
    port: int
    answering: str
    answering_port: int
    status: int
    identity: bytes


def forget_unpublished(published: Sequence[Published]) -> None:
    """Forget what went to these ports of the host before they were published.

    Not TCP: whoever was refused begins anew, from another port.
    """
    filters = [
        Filter(family_of(one.host_ip), one.protocol, address, port, status=_UNTRANSLATED)
        for one in published
        if one.protocol != "tcp"
        for address in ["" if one.host_ip in EVERYWHERE else one.host_ip]
        for port in range(one.host_port, one.host_port + one.count)
    ]
    if len(filters) <= _FILTERS:
        _forget(filters)
        return
    meant = {(one.destination, one.port) for one in filters}
    for family, protocol in {(one.family, one.protocol) for one in filters}:
        _forget_listed(
            Filter(family, protocol, status=_UNTRANSLATED),
            lambda entry: (
                not meant.isdisjoint(((entry.destination, entry.port), ("", entry.port)))
            ),
        )


def forget_published(published: Sequence[Published]) -> None:
    """Forget what the container's address answers in these protocols: the address is given up."""
    _forget(list(dict.fromkeys(chosen for one in published for chosen in _answered(one))))


def _answered(published: Published) -> list[Filter]:
    family = family_of(published.container_ip)
    if family == 4 or published.host_ip not in EVERYWHERE or published.count > _FILTERS:
        return [Filter(family, published.protocol, answering=published.container_ip)]
    # The port is this container's on all addresses, so the kernel need not be asked for one.
    return [
        Filter(
            family,
            published.protocol,
            port=published.host_port + offset,
            answering_port=published.container_port + offset,
            status=_REDIRECTED,
        )
        for offset in range(published.count)
    ]


def _forget(filters: Sequence[Filter]) -> None:
    for chosen in filters:
        if not chosen.is_kernels:
            _forget_listed(chosen, chosen.matches)
            continue
        message = _message(_DELETE, netlink.REQUEST | netlink.ACK, chosen.family, chosen.encoded())
        try:
            netlink.send(netlink.NETFILTER, [message])
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise _refused(error) from error
            _forget_listed(chosen, chosen.matches)


def _forget_listed(chosen: Filter, is_meant: Callable[[Tracked], bool]) -> None:
    """Delete those of the chosen that are meant, one by one."""
    try:
        stale = [entry for entry in listed(chosen) if chosen.matches(entry) and is_meant(entry)]
        for start in range(0, len(stale), _DELETED_AT_ONCE):
            _delete(chosen.family, stale[start : start + _DELETED_AT_ONCE])
    except OSError as error:
        raise _refused(error) from error


def _refused(error: OSError) -> EngineError:
    return EngineError("cannot forget tracked connections", details=error.strerror or str(error))


def listed(chosen: Filter) -> list[Tracked]:
    """What the kernel lets through the filter, which may be more than it chooses."""
    flags = netlink.REQUEST | netlink.DUMP
    answer = netlink.ask(netlink.NETFILTER, _message(_GET, flags, chosen.family, chosen.encoded()))
    return [tracked(chosen.family, body[4:]) for _, body in answer]


def _delete(family: int, entries: Sequence[Tracked]) -> None:
    messages = [_message(_DELETE, netlink.REQUEST, family, entry.identity) for entry in entries]
    last = messages[-1]
    messages[-1] = last._replace(flags=last.flags | netlink.ACK)
    try:
        netlink.send(netlink.NETFILTER, messages)
    except NetlinkError as error:
        # It has ended in the meantime; the others are deleted nevertheless.
        if error.errno != errno.ENOENT:
            raise


def _message(command: int, flags: int, family: int, body: bytes) -> Message:
    head = struct.pack("!BBH", _FAMILIES[family], 0, 0)
    return Message(_SUBSYSTEM << 8 | command, flags, head + body)


def tracked(family: int, data: bytes) -> Tracked:
    """The connection that a message of the kernel's describes."""
    found = attributes(data)
    original, reply = attributes(found[_ORIGINAL]), attributes(found[_REPLY])
    service, answering_service = (attributes(side[_PROTOCOL]) for side in (original, reply))
    ends = (
        attributes(original[_IP])[_DESTINATIONS[family]],
        attributes(reply[_IP])[_SOURCES[family]],
    )
    destination, answering = (socket.inet_ntop(_FAMILIES[family], end) for end in ends)
    identity = nested(_ORIGINAL, found[_ORIGINAL])
    if _ZONE in found:
        identity += attribute(_ZONE, found[_ZONE])
    return Tracked(
        service[_NUMBER][0],
        destination,
        int.from_bytes(service.get(_DESTINATION_PORT, b"")),
        answering,
        int.from_bytes(answering_service.get(_SOURCE_PORT, b"")),
        int.from_bytes(found[_STATUS]),
        identity,
    )
