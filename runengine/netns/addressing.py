"""Addresses and default routes of an interface, as requests to the kernel."""

from __future__ import annotations

import ipaddress
import socket
import time
from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter
from runengine.netns import messages
from runengine.netns.messages import (
    CREATE,
    REPLACE,
    RTM_DELADDR,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWROUTE,
    Attributes,
)
from runengine.netns.netlink import NetlinkError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runengine.netns.netlink import Connection

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_IFA_F_NODAD = 0x02
_RT_TABLE_MAIN = 254
_RTPROT_BOOT = 3
_RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK = 0, 253
_RTN_UNICAST, _RTN_LOCAL = 1, 2
_RTNH_F_ONLINK = 4
_LOCAL_ATTEMPTS = 1000
_LOCAL_INTERVAL_S = 0.0005


def parse(addresses: Iterable[str]) -> list[Interface]:
    """Addresses with their prefix lengths. Raises InvalidParameter."""
    found = []
    for text in addresses:
        try:
            found.append(ipaddress.ip_interface(text))
        except ValueError as error:
            raise InvalidParameter(f"invalid address {text!r}", details=str(error)) from None
    return found


def parse_gateways(gateways: Iterable[str]) -> list[Address]:
    """Addresses without prefix lengths, one of a family at most. Raises InvalidParameter."""
    found: list[Address] = []
    for text in gateways:
        try:
            found.append(ipaddress.ip_address(text))
        except ValueError as error:
            raise InvalidParameter(f"invalid gateway {text!r}", details=str(error)) from None
    if len({gateway.version for gateway in found}) < len(found):
        raise InvalidParameter(f"more than one gateway of a family: {', '.join(gateways)}")
    return found


def add(address: Interface, index: int) -> bytearray:
    """Give the interface an address that can be used at once.

    Addresses are ours to give, so IPv6 need not look for duplicates, which takes it seconds.
    """
    return _request(RTM_NEWADDR, address, index, flags=CREATE)


def remove(address: Interface, index: int) -> bytearray:
    """Take the address from the interface."""
    return _request(RTM_DELADDR, address, index)


def _request(command: int, address: Interface, index: int, flags: int = 0) -> bytearray:
    attributes: Attributes = [("IFA_LOCAL", str(address.ip)), ("IFA_ADDRESS", str(address.ip))]
    if address.version == 4 and address.network.prefixlen < 31:
        attributes.append(("IFA_BROADCAST", str(address.network.broadcast_address)))
    fields = {
        "family": _FAMILIES[address.version],
        "prefixlen": address.network.prefixlen,
        "flags": _IFA_F_NODAD if address.version == 6 else 0,
        "index": index,
    }
    return messages.request(command, attributes, fields, flags=flags)


def await_local(connection: Connection, addresses: Iterable[Interface]) -> None:
    """Wait until packets to the addresses are delivered.

    IPv6 adds the route to a new address in the background (net/ipv6/addrconf.c,
    addrconf_dad_work). Until then answers to what is sent from it are lost, which costs a second.
    """
    for address in addresses:
        if address.version == 6:
            for _ in range(_LOCAL_ATTEMPTS):
                if _is_local(connection, address):
                    break
                time.sleep(_LOCAL_INTERVAL_S)


def _is_local(connection: Connection, address: Interface) -> bool:
    fields = {"family": socket.AF_INET6, "dst_len": 128}
    request = messages.request(RTM_GETROUTE, [("RTA_DST", str(address.ip))], fields)
    try:
        return bool(connection.get(request)["type"] == _RTN_LOCAL)
    except NetlinkError:
        return False


def default_route(gateway: Address, index: int, subnets: Sequence[Interface]) -> bytearray:
    """Lead everything else to the gateway, in place of where it led before.

    A gateway outside of the interface's subnets is taken to be on the link nevertheless.
    """
    near = any(gateway in subnet.network for subnet in subnets) or gateway.is_link_local
    return _default(
        gateway.version,
        [("RTA_GATEWAY", str(gateway)), ("RTA_OIF", index)],
        scope=_RT_SCOPE_UNIVERSE,
        flags=0 if near else _RTNH_F_ONLINK,
    )


def default_route_of_link(version: int, index: int) -> bytearray:
    """Send everything else out by the interface: its driver knows where to."""
    return _default(version, [("RTA_OIF", index)], scope=_RT_SCOPE_LINK, flags=0)


def _default(version: int, attributes: Attributes, *, scope: int, flags: int) -> bytearray:
    fields = {
        "family": _FAMILIES[version],
        "table": _RT_TABLE_MAIN,
        "proto": _RTPROT_BOOT,
        "scope": scope if version == 4 else _RT_SCOPE_UNIVERSE,
        "type": _RTN_UNICAST,
        "flags": flags,
    }
    return messages.request(RTM_NEWROUTE, attributes, fields, flags=REPLACE)
