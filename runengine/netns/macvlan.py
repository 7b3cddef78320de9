"""Endpoints of macvlan and ipvlan networks: interfaces of containers on a link of the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter
from runengine.netns import parents
from runengine.netns.messages import CREATE, RTM_NEWLINK, Attributes, nested, request

if TYPE_CHECKING:
    from runengine.netns.types import Endpoint

_MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
_IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}


def requests(endpoint: Endpoint, netns_fd: int) -> list[bytearray]:
    """What makes the interface, down, in the container's namespace; its parent is made now.

    Raises InvalidParameter, NotFound or Unsupported.
    """
    info = _info(endpoint)
    attributes: Attributes = [
        ("IFLA_IFNAME", endpoint.name),
        ("IFLA_LINK", parents.ensure(endpoint.device)),
        ("IFLA_NET_NS_FD", netns_fd),
        ("IFLA_LINKINFO", info),
    ]
    if endpoint.mac:
        attributes.append(("IFLA_ADDRESS", endpoint.mac))
    if endpoint.mtu:
        attributes.append(("IFLA_MTU", endpoint.mtu))
    return [request(RTM_NEWLINK, attributes, flags=CREATE)]


def check(endpoint: Endpoint) -> None:
    """Raise InvalidParameter for a mode or a MAC address that the driver does not take."""
    _info(endpoint)


def _info(endpoint: Endpoint) -> dict[str, Attributes]:
    if endpoint.driver == "macvlan":
        mode = _mode(endpoint, _MACVLAN_MODES, "bridge")
        return _link_info("macvlan", ("IFLA_MACVLAN_MODE", mode))
    if endpoint.mac:
        raise InvalidParameter(
            f"interface {endpoint.name} cannot have a MAC address of its own:"
            f" ipvlan uses that of {endpoint.device}"
        )
    return _link_info("ipvlan", ("IFLA_IPVLAN_MODE", _mode(endpoint, _IPVLAN_MODES, "l2")))


def _mode(endpoint: Endpoint, modes: dict[str, int], usual: str) -> int:
    mode = endpoint.mode or usual
    if mode not in modes:
        raise InvalidParameter(
            f"unknown {endpoint.driver} mode {mode!r}: choose from {', '.join(modes)}"
        )
    return modes[mode]


def _link_info(kind: str, setting: tuple[str, int]) -> dict[str, Attributes]:
    return nested(("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", nested(setting)))
