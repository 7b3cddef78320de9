"""What our nftables table is told of networks and published ports: elements of its sets and maps.

An element is written in the words of ``nft``; nftables.py makes of it what the kernel takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.netns.types import Bridge, Published

EVERYWHERE = {"0.0.0.0": "255.255.255.255", "::": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}  # noqa: S104
"""All addresses of a family, and the last of them."""

_SERVICE = ("inet_proto", "inet_service")
_V4, _V6 = "ipv4_addr", "ipv6_addr"


class Kind(NamedTuple):
    """Declaration of a set, or of a map if it has values: nftables' own names of types."""

    key: tuple[str, ...]
    value: tuple[str, ...] = ()
    interval: bool = False

    @property
    def declaration(self) -> str:
        """As it stands in the table's text."""
        types = " . ".join(self.key)
        if self.value:
            types += " : " + " . ".join(self.value)
        return f"{{ type {types}; {'flags interval; ' if self.interval else ''}}}"


KINDS = {
    "bridges": Kind(("ifname",)),
    # Bridges whose containers reach nobody else.
    "internal": Kind(("ifname",)),
    # Bridges whose containers leave the host with its address.
    "masqueraded": Kind(("ifname",)),
    # A bridge and itself, where containers may talk to each other.
    "within": Kind(("ifname", "ifname")),
    # Where a port of one address of the host leads.
    "ports4": Kind((_V4, *_SERVICE), (_V4, "inet_service")),
    "ports6": Kind((_V6, *_SERVICE), (_V6, "inet_service")),
    # Where a port of all its addresses leads.
    "everywhere4": Kind(_SERVICE, (_V4, "inet_service")),
    "everywhere6": Kind(_SERVICE, (_V6, "inet_service")),
    # Where ports lead that keep their number, of one address or of all.
    "ranges4": Kind((_V4, *_SERVICE), (_V4,), interval=True),
    "ranges6": Kind((_V6, *_SERVICE), (_V6,), interval=True),
    # What of these is published on ::1.
    "loopback6": Kind(_SERVICE),
    "loopback_ranges6": Kind(_SERVICE, interval=True),
}
"""Every set and map of the table."""


class Element(NamedTuple):
    """One element of a set, or of a map if it has a value."""

    set: str
    key: tuple[str, ...]
    value: tuple[str, ...] = ()
    key_end: tuple[str, ...] = ()
    """In a set of intervals: the last key that it covers, part by part."""

    @property
    def text(self) -> str:
        """As nft reads it."""
        ends = self.key_end or self.key
        parts = zip(KINDS[self.set].key, self.key, ends, strict=True)
        text = " . ".join(_interval(kind, low, high) for kind, low, high in parts)
        return f"{text} : {' . '.join(self.value)}" if self.value else text


def _interval(kind: str, low: str, high: str) -> str:
    if kind == "ifname":
        return f'"{low}"'
    return low if low == high else f"{low}-{high}"


def of_bridge(bridge: Bridge) -> list[Element]:
    """What the table is told of a network's bridge."""
    names = ["bridges"]
    if bridge.internal:
        names.append("internal")
    elif bridge.masquerade:
        names.append("masqueraded")
    found = [Element(name, (bridge.device,)) for name in names]
    if bridge.icc:
        found.append(Element("within", (bridge.device, bridge.device)))
    return found


def of_device(device: str) -> list[Element]:
    """Everything that the table can have been told of a bridge."""
    names = ("bridges", "internal", "masqueraded")
    single = [Element(name, (device,)) for name in names]
    return [*single, Element("within", (device, device))]


def of_all(published: Iterable[Published]) -> list[Element]:
    """What the table is told of published ports; what is told twice once."""
    return list(dict.fromkeys(element for one in published for element in of_published(one)))


def of_published(published: Published) -> list[Element]:
    """One element for a port or for a row of ports that keep their numbers, and one for ::1."""
    if published.count > 1 and published.host_port == published.container_port:
        return _of_row(published)
    return [
        element for offset in range(published.count) for element in _of_port(published, offset)
    ]


def _of_port(published: Published, offset: int) -> list[Element]:
    family = family_of(published.host_ip)
    service = (published.protocol, str(published.host_port + offset))
    value = (published.container_ip, str(published.container_port + offset))
    if published.host_ip in EVERYWHERE:
        found = [Element(f"everywhere{family}", service, value)]
    else:
        found = [Element(f"ports{family}", (published.host_ip, *service), value)]
    if published.host_ip in ("::", "::1"):
        found.append(Element("loopback6", service))
    return found


def _of_row(published: Published) -> list[Element]:
    low = published.host_ip
    high = EVERYWHERE.get(low, low)
    first = (published.protocol, str(published.host_port))
    last = (published.protocol, str(published.host_port + published.count - 1))
    ranges = f"ranges{family_of(low)}"
    found = [Element(ranges, (low, *first), (published.container_ip,), (high, *last))]
    if low in ("::", "::1"):
        found.append(Element("loopback_ranges6", first, key_end=last))
    return found


def family_of(address: str) -> int:
    """4 or 6."""
    return 6 if ":" in address else 4
