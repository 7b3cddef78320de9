"""Endpoints of bridges: a veth pair, one end in the container, the other a port of the bridge."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runengine.errors import NotFound
from runengine.netns import links, sysctls
from runengine.netns.messages import (
    CREATE,
    RTM_NEWLINK,
    RTM_SETLINK,
    UP,
    Attributes,
    nested,
    request,
)

if TYPE_CHECKING:
    from runengine.netns.netlink import Connection
    from runengine.netns.types import Endpoint

_ADDR_GEN_NONE = 1  # IN6_ADDR_GEN_MODE_NONE
_FORWARDING_ATTEMPTS = 1100
_FORWARDING_INTERVAL_S = 0.001


def requests(endpoint: Endpoint, netns_fd: int) -> list[bytearray]:
    """What makes the pair: the container's end is down, the host's end is up and plugged in.

    Raises NotFound if there is no such bridge.
    """
    bridge = links.index_of(endpoint.device)
    if bridge is None:
        raise NotFound(f"no bridge {endpoint.device} on this host")
    mtu = endpoint.mtu or links.mtu_of(endpoint.device)
    return [
        _pair(endpoint, netns_fd, bridge, mtu),
        *_without_own_address(endpoint.host_name),
        port(endpoint),
    ]


def _pair(endpoint: Endpoint, netns_fd: int, bridge: int, mtu: int) -> bytearray:
    peer: Attributes = [
        ("IFLA_IFNAME", endpoint.name),
        ("IFLA_MTU", mtu),
        ("IFLA_NET_NS_FD", netns_fd),
    ]
    if endpoint.mac:
        peer.append(("IFLA_ADDRESS", endpoint.mac))
    return request(
        RTM_NEWLINK,
        [
            ("IFLA_IFNAME", endpoint.host_name),
            ("IFLA_MTU", mtu),
            ("IFLA_MASTER", bridge),
            (
                "IFLA_LINKINFO",
                nested(
                    ("IFLA_INFO_KIND", "veth"),
                    ("IFLA_INFO_DATA", nested(("VETH_INFO_PEER", nested(*peer)))),
                ),
            ),
        ],
        flags=CREATE,
    )


def _without_own_address(host_name: str) -> list[bytearray]:
    """A port needs no IPv6 address; it would announce one, and look for duplicates of it."""
    if not sysctls.has_ipv6():
        return []
    mode = nested(("AF_INET6", nested(("IFLA_INET6_ADDR_GEN_MODE", _ADDR_GEN_NONE))))
    return [request(RTM_SETLINK, [("IFLA_IFNAME", host_name), ("IFLA_AF_SPEC", mode)])]


def port(endpoint: Endpoint) -> bytearray:
    """Set the port up. Hairpin: a container that reaches itself by a port of the host's must get
    its own frames back, where bridged traffic passes the firewall (``bridge-nf-call-iptables``).
    """
    settings = [("IFLA_BRPORT_MODE", 1)]
    if endpoint.isolated:
        settings.append(("IFLA_BRPORT_ISOLATED", 1))
    info = nested(("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", nested(*settings)))
    attributes: Attributes = [("IFLA_IFNAME", endpoint.host_name), ("IFLA_LINKINFO", info)]
    return request(RTM_NEWLINK, attributes, UP)


def await_forwarding(connection: Connection, host_name: str) -> None:
    """Wait until the bridge forwards what the container sends, now that both ends are up.

    Asking makes new kernels (6.8) see to it at once; older ones take a moment, at worst a second.
    """
    for _ in range(_FORWARDING_ATTEMPTS):
        if links.is_operational(connection, host_name):
            return
        time.sleep(_FORWARDING_INTERVAL_S)
