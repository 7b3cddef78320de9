"""What networks the host knows: a new network must collide with none of them."""

from __future__ import annotations

import ipaddress
import socket

from runengine.netns import messages
from runengine.netns.messages import RTM_GETADDR, RTM_GETROUTE
from runengine.netns.netlink import Connection

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_RT_TABLE_LOCAL = 255
_LEADING = frozenset({1, 6, 7, 8})
"""Types of routes that take a subnet: RTN_UNICAST, BLACKHOLE, UNREACHABLE and PROHIBIT."""
_RTM_F_CLONED = 0x200
_LINK_LOCAL = ipaddress.IPv6Network("fe80::/10")


def used_networks() -> list[Network]:
    """Every subnet that the host routes or has an address in, but where everything else goes."""
    found: set[Network] = set()
    with Connection() as connection:
        for family in (socket.AF_INET, socket.AF_INET6):
            found |= _routed(connection, family)
        found |= {address.network for address in _addresses(connection)}
    return sorted(
        (network for network in found if _counts(network)),
        key=lambda network: (network.version, network),
    )


def _counts(network: Network) -> bool:
    if network.prefixlen == 0 or network.is_loopback:
        return False
    return not (isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_LINK_LOCAL))


def _routed(connection: Connection, family: int) -> set[Network]:
    found: set[Network] = set()
    for entry in connection.dump(messages.request(RTM_GETROUTE, [], {"family": family})):
        table = entry.get_attr("RTA_TABLE") or entry["table"]
        destination = entry.get_attr("RTA_DST")
        if table == _RT_TABLE_LOCAL or entry["flags"] & _RTM_F_CLONED or not destination:
            continue
        if entry["type"] in _LEADING:
            found.add(ipaddress.ip_network(f"{destination}/{entry['dst_len']}", strict=False))
    return found


def _addresses(connection: Connection) -> list[ipaddress.IPv4Interface | ipaddress.IPv6Interface]:
    return [
        ipaddress.ip_interface(
            f"{entry.get_attr('IFA_LOCAL') or entry.get_attr('IFA_ADDRESS')}/{entry['prefixlen']}"
        )
        for entry in connection.dump(messages.request(RTM_GETADDR, []))
    ]


def host_addresses() -> list[str]:
    """The host's own addresses but loopback and link-local ones, IPv4 first."""
    with Connection() as connection:
        found = {address.ip for address in _addresses(connection)}
    return [
        str(address)
        for address in sorted(found, key=lambda address: (address.version, address))
        if not address.is_loopback and not address.is_link_local
    ]
