"""Reserve what a container is to have on its networks: all of it in one transaction, or nothing.

Nothing is made here. What is decided is written down first, so whoever finds the container later
knows what to give back. Whoever has something that is wanted may have ended without a teardown:
before that is an error, the holder is brought in line with what is, and it is tried again.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from runengine import ids
from runengine.errors import Conflict, InvalidParameter, NotFound
from runengine.linux.clock import boot_id
from runengine.mgr.network import host_ports, options, up
from runengine.mgr.network.context import HeldError, LostError
from runengine.netns import ipam
from runengine.store.network_types import ReservedEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runengine.mgr.network.context import NetworkContext
    from runengine.store.network_types import Network, Pool, Port, WantedEndpoint

_ATTEMPTS = 50
"""How often what was free may be somebody else's a moment later."""
_LINK_LOCAL = {4: "169.254.0.0/16", 6: "fe80::/10"}


class Plan(NamedTuple):
    """One wish, with what is decided before the transaction."""

    network: Network
    wanted: WantedEndpoint
    ports: list[host_ports.Choice]


def reserve(
    context: NetworkContext, container_id: str, wanted: Sequence[WantedEndpoint]
) -> list[ReservedEndpoint]:
    """Decide and record everything about a container's endpoints. See ``NetworkMgr.reserve``."""
    settled = {container_id}
    for _ in range(_ATTEMPTS):
        try:
            return _transact(context, container_id, _plan(context, wanted))
        except LostError:
            continue
        except HeldError as held:
            others = [holder for holder in held.holders if holder not in settled]
            if not others:
                raise held.error from None
            settled.update(others)
            context.reclaim(others)
    raise Conflict(f"container {container_id[:12]}: others take what is free just before it")


def _network(context: NetworkContext, network_id: str) -> Network:
    """The network as its first container finds it: its subnet may need to be another by now."""
    network = context.store.networks.get(network_id)
    if network.removing:
        raise NotFound(f"network {network.name} not found")
    if network.driver != "bridge" or up.exists(network.device):
        return network
    from runengine.mgr.network import subnets

    return subnets.renew(context, network)


def check(network: Network, wish: WantedEndpoint) -> None:
    """Raise InvalidParameter for what the network cannot give, whoever else is on it."""
    for family, address in ((4, wish.ip), (6, wish.ip6)):
        if address:
            _check_address(network, network.pool(family), address, family)
    for address in wish.link_local:
        if not ipam.contains(_LINK_LOCAL[ipam.family_of(address)], address):
            raise InvalidParameter(f"invalid link-local IP address {address}")
    if wish.mac:
        ipam.parse_mac(wish.mac)
        if network.driver == "ipvlan":
            raise InvalidParameter(
                f"network {network.name}: an ipvlan has its parent's MAC address, not {wish.mac}"
            )
    options.sysctls(wish.driver_opts)


def _check_address(network: Network, pool: Pool | None, address: str, family: int) -> None:
    if pool is None or ipam.family_of(address) != family:
        raise InvalidParameter(
            f"invalid IPv{family} address {address}: network {network.name} has no such addresses"
        )
    if pool.chosen:
        raise InvalidParameter(
            f"network {network.name}: IP address {address} can be asked for only where the subnet"
            " was named too",
            resolution="make a network with --subnet",
        )
    number = ipam.number(address)
    first, last = ipam.usable(pool.subnet)
    if not first <= number <= last:
        reason = "no host can have it" if ipam.contains(pool.subnet, address) else "not in it"
        raise InvalidParameter(
            f"invalid IP address {address} for network {network.name}, whose subnet is"
            f" {pool.subnet}: {reason}"
        )


def _plan(context: NetworkContext, wanted: Sequence[WantedEndpoint]) -> list[Plan]:
    chooser = host_ports.Chooser(context)
    plans = []
    for wish in wanted:
        network = _network(context, wish.network)
        check(network, wish)
        ports = [chooser.choose(network, port) for port in wish.ports]
        plans.append(Plan(network, wish, ports))
    return plans


def _transact(
    context: NetworkContext, container_id: str, plans: Sequence[Plan]
) -> list[ReservedEndpoint]:
    endpoints = context.store.endpoints
    try:
        with context.store.database.write():
            endpoints.keep_wishes(container_id, [plan.wanted for plan in plans])
            for plan in plans:
                if context.store.networks.get(plan.network.id) != plan.network:
                    raise LostError  # it is being removed, or has another subnet by now
                endpoints.clear(container_id, plan.network.id)
            names = _names(plans, {one.interface for one in endpoints.of(container_id)})
            return [
                _reserve_one(context, container_id, plan, name)
                for plan, name in zip(plans, names, strict=True)
            ]
    except sqlite3.IntegrityError:
        raise NotFound(f"No such container: {container_id[:12]}") from None


def _names(plans: Sequence[Plan], taken: set[str]) -> Iterator[str]:
    """Names of the interfaces: the wished ones, or the next ``eth`` that is free."""
    wished = [
        plan.wanted.driver_opts.get(options.IFNAME) or plan.wanted.interface for plan in plans
    ]
    taken = taken | set(wished)
    number = 0
    for name in wished:
        while not name and f"eth{number}" in taken:
            number += 1
        yield name or f"eth{number}"
        taken.add(name or f"eth{number}")


def _reserve_one(
    context: NetworkContext, container_id: str, plan: Plan, interface: str
) -> ReservedEndpoint:
    network, wish = plan.network, plan.wanted
    pool, pool6 = network.pool(4), network.pool(6)
    ip = _address(context, network, pool, wish, container_id)
    ip6 = _address(context, network, pool6, wish, container_id)
    reserved = ReservedEndpoint(
        container_id,
        network.id,
        network.name,
        network.driver,
        ids.new_id(),
        interface,
        network.device,
        host_name=f"ve{os.urandom(6).hex()}" if network.driver == "bridge" else "",
        mac=_mac(context, network, wish, ip or ip6),
        ip=ip,
        ip_prefix=pool.prefix if pool else 0,
        gateway=pool.gateway if pool and not network.internal else "",
        ip6=ip6,
        ip6_prefix=pool6.prefix if pool6 else 0,
        gateway6=pool6.gateway if pool6 and not network.internal else "",
        mtu=options.mtu(network.options),
        mode=options.mode(network.driver, network.options),
        isolated=not options.flag(network.options, options.ICC, default=True),
        wanted=wish._replace(interface="", ports=(), former=(), former_mac=""),
        ports=tuple(_ports(context, plan, ip, ip6)),
    )
    context.store.endpoints.save(reserved, boot_id())
    context.store.endpoints.add_ports(container_id, network.id, reserved.ports)
    return reserved


def _address(
    context: NetworkContext,
    network: Network,
    pool: Pool | None,
    wish: WantedEndpoint,
    container_id: str,
) -> str:
    if pool is None:
        return ""
    wished = wish.ip if pool.family == 4 else wish.ip6
    if not wished:
        return _former_address(context, network, pool, wish, container_id) or _next_address(
            context, network, pool, container_id
        )
    holder = context.store.endpoints.lease(network.id, ipam.packed(wished), container_id)
    if holder is None:
        return wished
    brief = f"IP address {wished} of network {network.name} is already in use"
    if not holder.container_id:
        raise InvalidParameter(brief, details=f"it is the network's own: {holder.use}")
    name = context.name_of(holder.container_id)
    raise HeldError(
        Conflict(brief, details=f"container {name} has it"), [holder.container_id]
    )


def _former_address(
    context: NetworkContext,
    network: Network,
    pool: Pool,
    wish: WantedEndpoint,
    container_id: str,
) -> str:
    """The address of a run that goes on; empty if there is none, or somebody else has it."""
    for address in wish.former:
        if address and ipam.contains(pool.subnet, address):
            packed = ipam.packed(address)
            holder = context.store.endpoints.lease(network.id, packed, container_id)
            return address if holder is None else ""
    return ""


def _next_address(
    context: NetworkContext, network: Network, pool: Pool, container_id: str
) -> str:
    endpoints = context.store.endpoints
    family = pool.family

    def used(first: int, last: int) -> int:
        ends = ipam.to_bytes(first, family), ipam.to_bytes(last, family)
        return endpoints.leased(network.id, *ends)

    first, last = ipam.bounds(pool.subnet, pool.ip_range)
    after = endpoints.last_lease(network.id, family)
    number = ipam.next_free(first, last, int.from_bytes(after or b"", "big"), used)
    if number is None:
        part = pool.ip_range or pool.subnet
        raise HeldError(
            Conflict(
                f"no available IPv{family} addresses on network {network.name}: all of {part}"
                " are in use",
                resolution="remove containers, or make a network with a larger subnet",
            ),
            endpoints.holders(network.id),
        )
    address = ipam.to_bytes(number, family)
    endpoints.lease(network.id, address, container_id)
    endpoints.note_last_lease(network.id, family, address)
    return ipam.text(number, family)


def _mac(context: NetworkContext, network: Network, wish: WantedEndpoint, address: str) -> str:
    """The wished MAC, or one made of the address; an ipvlan has none of its own."""
    endpoints = context.store.endpoints
    if network.driver not in ("bridge", "macvlan"):
        return ""
    made = wish.former_mac or ipam.mac_of(ipam.packed(address))
    mac = ipam.parse_mac(wish.mac) if wish.mac else made
    holder = endpoints.mac_holder(network.id, mac)
    if holder is not None and wish.mac:
        raise HeldError(
            Conflict(
                f"MAC address {mac} is already in use on network {network.name}",
                details=f"container {context.name_of(holder)} has it",
            ),
            [holder],
        )
    while holder is not None:  # somebody wished for just this one
        mac = ipam.mac_of(os.urandom(4))
        holder = endpoints.mac_holder(network.id, mac)
    return mac


def _ports(context: NetworkContext, plan: Plan, ip: str, ip6: str) -> Iterator[Port]:
    for choice in plan.ports:
        host_ports.verify(context, choice)
        for port in choice.ports:
            yield port._replace(container_ip=ip6 if ":" in port.host_ip else ip)
