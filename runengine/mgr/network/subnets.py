"""Which subnets are free: of the host, of other networks, of the configured pools."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from runengine.errors import Conflict, InvalidParameter
from runengine.linux.fsatomic import read_optional
from runengine.netns import ipam
from runengine.store.network_types import Pool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.mgr.network.context import NetworkContext
    from runengine.netns.ipam import IPNetwork
    from runengine.store.network_types import Network


def used_by_host() -> list[IPNetwork]:
    """Every subnet that the host has an address in or a route to, default routes left out."""
    from runengine.netns import routes

    return list(routes.used_networks())


def of_networks(context: NetworkContext) -> list[IPNetwork]:
    """Every subnet that a network has."""
    return [ipaddress.ip_network(subnet) for subnet, _ in context.store.networks.subnets()]


def choose(context: NetworkContext, family: int, taken: Iterable[IPNetwork]) -> Pool:
    """A free subnet with its gateway, in the caller's transaction. Raises Conflict."""
    pools = _pools(context, family)
    subnet = ipam.choose_subnet(pools, taken)
    if subnet is None:
        raise Conflict(
            "all predefined address pools have been fully subnetted",
            details=f"no IPv{family} subnet is free of the host's routes and of other networks",
            resolution="name one with --subnet, or set default_address_pools in the configuration",
        )
    return Pool(subnet, gateway=first_address(subnet), chosen=True)


def first_address(subnet: str) -> str:
    """The address that is the gateway's unless the user says otherwise."""
    return ipam.text(ipam.usable(subnet)[0], ipam.family_of(subnet))


def renew(context: NetworkContext, network: Network) -> Network:
    """The network with other subnets, if those that were chosen for it are the host's by now.

    Only while it is neither up nor anybody's: a VPN or another engine may have come before it.
    """
    if not network.pools or not all(pool.chosen for pool in network.pools):
        return network
    used = used_by_host()
    if not any(_meets(pool, used) for pool in network.pools):
        return network
    networks = context.store.networks
    with context.store.database.write():
        if context.store.endpoints.holders(network.id):
            return network
        networks.remove(network.id)
        taken = [*used, *of_networks(context)]
        pools = tuple(choose(context, pool.family, taken) for pool in network.pools)
        renewed = network._replace(pools=pools)
        networks.add(renewed)
    return renewed


def _meets(pool: Pool, used: Iterable[IPNetwork]) -> bool:
    own = ipaddress.ip_network(pool.subnet)
    return any(other.version == own.version and other.overlaps(own) for other in used)


def _pools(context: NetworkContext, family: int) -> list[ipam.AddressPool]:
    """The pools of a family: the configured ones, or else what every host may use."""
    configured = [
        _checked(ipam.AddressPool(base, size))
        for base, size in context.config.default_address_pools
        if ipam.family_of(base) == family
    ]
    if configured:
        return configured
    if family == 4:
        return list(ipam.DEFAULT_POOLS)
    host = read_optional("/etc/machine-id") or b""
    return [ipam.local_pool(f"{host.decode(errors='replace').strip()}{context.config.paths.root}")]


def _checked(pool: ipam.AddressPool) -> ipam.AddressPool:
    base = ipam.parse_subnet(pool.base, "base of default_address_pools")
    if not base.prefixlen <= pool.size <= base.max_prefixlen - 2:
        raise InvalidParameter(
            f"invalid size {pool.size} of default_address_pools for base {pool.base}:"
            f" expected {base.prefixlen} to {base.max_prefixlen - 2}"
        )
    return pool


def refuse_overlaps(context: NetworkContext, name: str, pools: Iterable[Pool]) -> None:
    """Raise Conflict for a subnet that meets another network's, in the caller's transaction."""
    others = [
        (ipaddress.ip_network(subnet), owner)
        for subnet, owner in context.store.networks.subnets()
    ]
    for pool in pools:
        wanted = ipaddress.ip_network(pool.subnet)
        for subnet, owner in others:
            if subnet.version == wanted.version and subnet.overlaps(wanted):
                raise Conflict(
                    f"network {name}: subnet {pool.subnet} overlaps with {subnet} of network"
                    f" {owner}",
                    resolution="choose another subnet, or let the engine choose one",
                )


def refuse_hosts_own(name: str, pools: Iterable[Pool]) -> None:
    """Raise Conflict for a subnet that would hide one of the host's.

    A part of what the host routes elsewhere may be used: who asks for it by name means it.
    """
    used = used_by_host()
    for pool in pools:
        wanted = ipaddress.ip_network(pool.subnet)
        for subnet in used:
            if subnet.version == wanted.version and subnet.subnet_of(wanted):  # type: ignore[arg-type]
                raise Conflict(
                    f"network {name}: subnet {pool.subnet} would hide {subnet}, which this host"
                    " has a route to",
                    resolution="choose another subnet; ip route shows what is in use",
                )
