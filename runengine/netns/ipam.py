"""Addresses: which subnet, which address in it, which MAC. Pure: what is taken is told.

Addresses are integers here, whose family is known from the subnet they belong to; ``number`` and
``text`` go between them and what users write. A start uses only these, so that it need not load
``ipaddress``; subnets that users write are read by that module, once, when a network is created.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    import ipaddress
    from collections.abc import Callable, Iterable, Sequence

    IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
    Used = Callable[[int, int], int]
    """How many addresses are in use from the first to the last number."""

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_BITS = {4: 32, 6: 128}
_NO_HOSTS = {
    4: ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"),
    6: ("::/8", "fe80::/10", "ff00::/8"),
}
"""Loopback, multicast and what else has a meaning of its own (RFC 6890)."""
MAC_PREFIX = b"\x02\x42"
"""Locally administered, as Docker's are: a MAC with it never is a manufacturer's."""


class AddressPool(NamedTuple):
    """Where subnets are taken from when the user names none."""

    base: str
    size: int
    """Prefix length of the subnets."""


DEFAULT_POOLS = (
    *(AddressPool(f"172.{second}.0.0/16", 16) for second in range(17, 32)),
    AddressPool("192.168.0.0/16", 20),
)


def number(address: str) -> int:
    """The integer of an address. Raises InvalidParameter."""
    return int.from_bytes(packed(address), "big")


def packed(address: str) -> bytes:
    """The bytes of an address. Raises InvalidParameter for what is none."""
    try:
        return socket.inet_pton(_FAMILIES[family_of(address)], address)
    except (OSError, ValueError):
        raise InvalidParameter(f"invalid IP address {address!r}") from None


def family_of(address: str) -> int:
    """4 or 6, by the look of an address or subnet."""
    return 6 if ":" in address else 4


def text(address: int, family: int) -> str:
    """An address as users read it."""
    return socket.inet_ntop(_FAMILIES[family], to_bytes(address, family))


def to_bytes(address: int, family: int) -> bytes:
    """An address as the database keeps it."""
    return address.to_bytes(_BITS[family] // 8, "big")


def ends(subnet: str) -> tuple[int, int]:
    """The first and the last number of a well-formed subnet."""
    base, _, length = subnet.partition("/")
    host_bits = _BITS[family_of(subnet)] - int(length)
    first = number(base) >> host_bits << host_bits
    return first, first | ((1 << host_bits) - 1)


def contains(subnet: str, address: str) -> bool:
    """Whether an address is of this subnet."""
    if family_of(address) != family_of(subnet):
        return False
    first, last = ends(subnet)
    return first <= number(address) <= last


def usable(subnet: str) -> tuple[int, int]:
    """The first and last number that a host can have: neither the net itself nor broadcast.

    A /31 and a /32 have no such (RFC 3021); in IPv6 only the first is no host's, as all routers
    answer to it (RFC 4291, 2.6.1).
    """
    first, last = ends(subnet)
    if last - first < 2:
        return first, last
    return first + 1, last - (family_of(subnet) == 4)


def bounds(subnet: str, ip_range: str) -> tuple[int, int]:
    """The first and last number that may be given to a container unasked."""
    first, last = usable(subnet)
    if ip_range:
        low, high = ends(ip_range)
        return max(first, low), min(last, high)
    return first, last


def next_free(first: int, last: int, after: int, used: Used) -> int | None:
    """The free address next to ``after``, going round at the end; None when there is none left.

    Going round gives an address just freed the longest rest: peers may remember who had it.
    """
    if not first <= after < last:
        return _gap(first, last, used)
    found = _gap(after + 1, last, used)
    return _gap(first, after, used) if found is None else found


def _gap(first: int, last: int, used: Used) -> int | None:
    """The first free address: looks at twice as many at a time until not all are in use."""
    size = 1
    while first <= last:
        end = min(first + size - 1, last)
        if used(first, end) <= end - first:
            return _first_free(first, end, used)
        first, size = end + 1, size * 2
    return None


def _first_free(low: int, high: int, used: Used) -> int:
    while low < high:
        middle = (low + high) // 2
        if used(low, middle) <= middle - low:
            high = middle
        else:
            low = middle + 1
    return low


def mac_of(address: bytes) -> str:
    """The MAC for an address: unique where the address is, as long as nobody chooses one."""
    return (MAC_PREFIX + address[-4:]).hex(":")


def parse_mac(given: str) -> str:
    """A MAC in lower case with colons. Raises InvalidParameter."""
    mac = given.lower().replace("-", ":")
    values = b""
    if len(mac) == 17 and mac[2::3] == ":::::":
        with suppress(ValueError):
            values = bytes.fromhex(mac.replace(":", ""))
    if len(values) != 6:
        raise InvalidParameter(f"invalid MAC address {given!r}: six pairs of hex digits are one")
    if values[0] & 1:
        raise InvalidParameter(f"invalid MAC address {given!r}: it is a group's (multicast)")
    if not any(values):
        raise InvalidParameter(f"invalid MAC address {given!r}: it is no interface's")
    return mac


# Subnets


def parse_subnet(given: str, what: str = "subnet") -> IPNetwork:
    """The subnet that a user wrote. Raises InvalidParameter for what is not exactly one."""
    import ipaddress

    address, slash, length = given.partition("/")
    if not slash:
        raise InvalidParameter(f"invalid {what} {given!r}: it has no prefix length, such as /24")
    family = family_of(address)
    if not (length.isascii() and length.isdigit() and int(length[:4]) <= _BITS[family]):
        raise InvalidParameter(
            f"invalid {what} {given!r}: its prefix length is not in 0 to {_BITS[family]}"
        )
    try:
        host = packed(address)
    except InvalidParameter as error:
        raise InvalidParameter(f"invalid {what} {given!r}: {error}") from None
    network = ipaddress.ip_network((host, int(length)), strict=False)
    if network.network_address.packed != host:
        raise InvalidParameter(f"invalid {what} {given}: it should be {network}")
    for other in map(ipaddress.ip_network, _NO_HOSTS[family]):
        if network.overlaps(other):
            raise InvalidParameter(f"invalid {what} {given}: {other} is for no network of hosts")
    return network


def choose_subnet(pools: Sequence[AddressPool], taken: Iterable[IPNetwork]) -> str | None:
    """The first subnet of the pools that meets none that is taken; None when there is none.

    Goes from one that is taken to behind it, so a large pool costs no more than a small one.
    """
    in_use = sorted((int(net[0]), int(net[-1]), net.version) for net in taken)
    for pool in pools:
        family = family_of(pool.base)
        first, last = ends(pool.base)
        step = 1 << (_BITS[family] - pool.size)
        for low, high, version in in_use:
            if version == family and low < first + step and high >= first:
                first = (high // step + 1) * step
        if first + step - 1 <= last:
            return f"{text(first, family)}/{pool.size}"
    return None


def local_pool(seed: str) -> AddressPool:
    """Subnets of 64 bits below a private prefix of one's own (RFC 4193), made from a seed."""
    import hashlib

    prefix = b"\xfd" + hashlib.sha256(seed.encode()).digest()[:5]
    return AddressPool(f"{text(int.from_bytes(prefix + bytes(10), 'big'), 6)}/48", 64)
