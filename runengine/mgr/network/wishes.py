"""What a container is to have of networks, as its configuration says: checked when it is made.

Docker's documents (``NetworkMode``, ``EndpointsConfig``, ``PortBindings``) on one side, the
network manager's wishes on the other. What depends on the moment of a start, such as whether an
address or a port is free, is decided by ``NetworkMgr.reserve``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter, NotFound
from runengine.mgr.network import port_wishes
from runengine.mgr.network.modes import CONTAINER, DEFAULT, HOST, NETNS, NONE, has_networks
from runengine.model import endpoint_config
from runengine.store.network_types import WantedEndpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runengine.mgr.container.context import Context
    from runengine.model import ContainerConfig, EndpointConfig, HostConfig
    from runengine.store.network_types import Network

HOST_DRIVER, NULL_DRIVER = "host", "null"


class Wishes(NamedTuple):
    """A checked request."""

    mode: str
    """The network mode, with the name of the network that the container's first one is."""
    wanted: list[WantedEndpoint]


def check(
    context: Context,
    config: ContainerConfig,
    host: HostConfig,
    endpoints: Mapping[str, EndpointConfig],
) -> Wishes:
    """What the container is to have. Raises NotFound, AmbiguousName, InvalidParameter."""
    mode = host["NetworkMode"]
    mode = context.config.default_network if mode in ("", DEFAULT) else mode
    if not has_networks(mode):
        return _alone(mode, endpoints)
    first = context.networks.get(mode)
    if first.driver in (HOST_DRIVER, NULL_DRIVER):
        return _alone(HOST if first.driver == HOST_DRIVER else NONE, endpoints)
    port_wishes.wanted(config, host)
    wanted: dict[str, WantedEndpoint] = {}
    for name, endpoint in _all(mode, endpoints).items():
        network = context.networks.get(context.config.default_network if name == DEFAULT else name)
        if network.id in wanted:
            raise InvalidParameter(f'network "{network.name}" is specified multiple times')
        wanted[network.id] = wish(network, endpoint)
        if network.builtin:
            # Kept with the endpoint as well: there those who link to a container are found.
            wanted[network.id] = wanted[network.id]._replace(links=tuple(host.get("Links") or ()))
    _check_links(context, host)
    return Wishes(first.name, sorted(wanted.values(), key=lambda one: one.network != first.id))


def _all(mode: str, endpoints: Mapping[str, EndpointConfig]) -> dict[str, EndpointConfig]:
    """The endpoints; the mode's own is there even if nothing is said of it."""
    if mode in endpoints or DEFAULT in endpoints or "" in endpoints:
        return {name or DEFAULT: endpoint for name, endpoint in endpoints.items()}
    return {mode: endpoint_config(), **endpoints}


def _alone(mode: str, endpoints: Mapping[str, EndpointConfig]) -> Wishes:
    """A mode without networks of the engine's; a client may still name the mode itself."""
    kind, _, target = mode.partition(":")
    others = [name for name in endpoints if name not in (mode, "", DEFAULT)]
    if others:
        raise InvalidParameter(
            f"conflicting options: cannot attach to {mode} and {', '.join(others)} at once"
        )
    if kind in (CONTAINER, NETNS) and not target:
        raise InvalidParameter(f"invalid network mode: {mode!r}: what to join is missing")
    if kind == NETNS and not target.startswith("/"):
        raise InvalidParameter(
            f"invalid network mode: {mode!r}", resolution="netns: takes an absolute path"
        )
    return Wishes(mode, [])


def wish(network: Network, endpoint: EndpointConfig) -> WantedEndpoint:
    """The wish for one network. Raises InvalidParameter for what it cannot have."""
    if network.driver in (HOST_DRIVER, NULL_DRIVER):
        raise InvalidParameter(
            f"container cannot be connected to the {network.name} network and others",
            resolution=f"--network {network.name} goes with no other network",
        )
    ipam = endpoint.get("IPAMConfig") or {}
    found = WantedEndpoint(
        network.id,
        network.name,
        ip=ipam.get("IPv4Address") or "",
        ip6=ipam.get("IPv6Address") or "",
        mac=(endpoint.get("MacAddress") or "").lower().replace("-", ":"),
        link_local=tuple(ipam.get("LinkLocalIPs") or ()),
        aliases=tuple(dict.fromkeys(endpoint.get("Aliases") or ())),
        links=tuple(endpoint.get("Links") or ()),
        driver_opts=endpoint.get("DriverOpts") or {},
        gw_priority=endpoint.get("GwPriority") or 0,
    )
    _check_wish(network, found)
    return found


def _check_wish(network: Network, wanted: WantedEndpoint) -> None:
    if network.builtin and wanted.aliases:
        raise InvalidParameter(
            "network-scoped aliases are only supported for user-defined networks"
        )
    if network.builtin and (wanted.ip or wanted.ip6):
        raise InvalidParameter(
            "user specified IP address is supported on user defined networks only",
            resolution="make one: runengine network create --subnet SUBNET NAME",
        )
    from runengine.mgr.network import reserve

    reserve.check(network, wanted)
    for pool in network.pools:
        taken = {pool.gateway: "gateway", **{address: name for name, address in pool.aux.items()}}
        for address in {wanted.ip, wanted.ip6} & taken.keys() - {""}:
            raise InvalidParameter(
                f"invalid address {address}: it is network {network.name}'s own:"
                f" {taken[address]}"
            )


def _check_links(context: Context, host: HostConfig) -> None:
    for text in host.get("Links") or ():
        name = text.partition(":")[0]
        try:
            context.resolve(name)
        except NotFound:
            raise NotFound(f"could not get container for {name}: No such container") from None


def document(wanted: WantedEndpoint) -> EndpointConfig:
    """A wish in Docker's shape."""
    ipam = {
        "IPv4Address": wanted.ip,
        "IPv6Address": wanted.ip6,
        "LinkLocalIPs": list(wanted.link_local),
    }
    return {
        "IPAMConfig": {key: value for key, value in ipam.items() if value} or None,  # type: ignore[typeddict-item]
        "Links": list(wanted.links) or None,
        "Aliases": list(wanted.aliases) or None,
        "MacAddress": wanted.mac,
        "DriverOpts": wanted.driver_opts or None,
        "GwPriority": wanted.gw_priority,
    }
