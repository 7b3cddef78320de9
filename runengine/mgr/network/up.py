"""Bring a network up: its bridge and its part of the firewall, made when they are first needed.

A note in the state directory says that a bridge was made, and with which index. As long as the
link has that index and the firewall its table, nothing is made again: a start asks three times.
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from runengine.linux.fsatomic import read_optional, replace
from runengine.linux.locks import locked
from runengine.mgr.network import options
from runengine.netns.types import Bridge, Endpoint, Published

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from runengine.mgr.network.context import NetworkContext
    from runengine.store.network_types import Network, ReservedEndpoint

NOWHERE = "dm-"
"""Names of links that are made for a macvlan or ipvlan that has none of the host's begin so."""


def exists(device: str) -> bool:
    """Whether the host has this link, in the namespace that we are in."""
    return _index(device) > 0


def _index(device: str) -> int:
    """0: there is no such link. Not by /sys, which may be another namespace's."""
    try:
        return socket.if_nametoindex(device)
    except OSError:
        return 0


def bridge_of(network: Network) -> Bridge:
    """A bridge network as the mechanisms take it."""
    return Bridge(
        network.device,
        tuple(f"{pool.gateway}/{pool.prefix}" for pool in network.pools),
        mtu=options.mtu(network.options),
        internal=network.internal,
        icc=options.flag(network.options, options.ICC, default=True),
        masquerade=options.flag(network.options, options.MASQUERADE, default=True),
    )


def link_of(reserved: ReservedEndpoint, *, default_route: bool) -> Endpoint:
    """A reserved endpoint as ``netns.endpoint.attach`` takes it."""
    gateways = (reserved.gateway, reserved.gateway6) if default_route else ()
    return Endpoint(
        reserved.driver,
        reserved.device,
        reserved.interface,
        reserved.addresses,
        host_name=reserved.host_name,
        mode=reserved.mode,
        mac=reserved.mac,
        gateways=tuple(filter(None, gateways)),
        mtu=reserved.mtu,
        sysctls=options.sysctls(reserved.wanted.driver_opts),
        isolated=reserved.isolated,
    )


def published(endpoints: Iterable[ReservedEndpoint]) -> list[Published]:
    """The ports of endpoints as the firewall takes them."""
    return [Published(*port) for endpoint in endpoints for port in endpoint.ports]


def ensure_up(context: NetworkContext, network: Network, *, again: bool = False) -> None:
    """Make the network's bridge and its part of the firewall if anything of them is missing.

    ``again`` looks at everything even if it was made before. Raises Conflict (the device is
    another's), NotFound (parent link), Unsupported.
    """
    if network.driver in options.MODES:
        _ensure_parent(context, network)
    if network.driver != "bridge" or (not again and _is_up(context, network)):
        return
    with context.locked(network.id):
        if again or not _is_up(context, network):
            _make(context, network)


def _ensure_parent(context: NetworkContext, network: Network) -> None:
    """A link of the host's own is only looked for; a VLAN of one is made."""
    if exists(network.device):
        return
    from runengine.netns import parents

    with context.locked(network.id):
        parents.ensure(network.device)


def _make(context: NetworkContext, network: Network) -> None:
    from runengine.netns import bridge, forwarding, others
    from runengine.netns.firewall import TableMissing

    # As it is now: its subnet may have been chosen again since the caller looked.
    wanted = bridge_of(context.store.networks.get(network.id))
    bridge.ensure(wanted)
    changed = forwarding.enable(wanted)
    if changed:
        context.notices.append(f"network {network.name} needs forwarding: set {' '.join(changed)}")
    context.notices.extend(others.accept_forwarding(network.device))
    try:
        with table_held(context):
            context.firewall.add_network(wanted)
    except TableMissing:
        replay(context, also=wanted)
    _plug_in(context, network)
    replace(_note(context, network.id), b"%d" % _index(network.device), durable=False)


def _plug_in(context: NetworkContext, network: Network) -> None:
    """Running containers lost their bridge if somebody has deleted it."""
    from runengine.linux.clock import boot_id
    from runengine.netns import plugging

    reserved = context.store.endpoints.on(network.id, boot_id())
    plugging.plug_in(link_of(one, default_route=False) for one in reserved)


def _note(context: NetworkContext, network_id: str) -> str:
    return f"{context.directory}/{network_id}.up"


def _is_up(context: NetworkContext, network: Network) -> bool:
    """Whether bridge and table are those that were made; the table goes if others flush all."""
    noted = read_optional(_note(context, network.id))
    here = _index(network.device)
    return bool(here) and noted == b"%d" % here and context.firewall.is_whole()


@contextmanager
def table_held(context: NetworkContext, *, alone: bool = False) -> Iterator[None]:
    """Hold the firewall's table, shared by those who change elements, alone to write it anew.

    What is recorded and what is in the table change together under it, so that a table that is
    written anew has neither too little nor too much.
    """
    os.makedirs(context.directory, mode=0o700, exist_ok=True)
    with locked(f"{context.directory}/firewall.lock", shared=not alone):
        yield


def publish(context: NetworkContext, ports: Sequence[Published]) -> None:
    """Publish ports in one transaction; a table that somebody flushed is written anew."""
    from runengine.netns.firewall import TableMissing

    if not ports:
        return
    try:
        with table_held(context):
            context.firewall.publish(ports)
    except TableMissing:
        replay(context)


def release(context: NetworkContext, container_id: str, network_id: str | None) -> None:
    """Take published ports back, and free them and the addresses; without a table, only that."""
    endpoints = context.store.endpoints
    ports = published(
        one for one in endpoints.of(container_id) if network_id in (None, one.network_id)
    )
    if not ports:
        endpoints.release(container_id, network_id)
        return
    with table_held(context):
        context.firewall.withdraw(ports)
        endpoints.release(container_id, network_id)


def replay(context: NetworkContext, *, also: Bridge | None = None) -> None:
    """Write the whole table anew from what is recorded: networks whose bridge is there, and the
    ports of what was started since the host did.
    """
    with table_held(context, alone=True):
        bridges = {network.device: bridge_of(network) for network in _bridging(context)}
        if also is not None:
            bridges[also.device] = also
        _write(context, bridges.values())


def mend(context: NetworkContext) -> bool:
    """Write a table anew that somebody flushed; whether that was so.

    For whoever hears of it: nothing is done where the table is there, or no network is up.
    """
    from runengine.netns import others

    if not _bridging(context):
        return False
    with table_held(context, alone=True):
        networks = _bridging(context)
        if not networks or context.firewall.is_whole():
            return False
        _write(context, map(bridge_of, networks))
    for network in networks:
        # What was flushed was everybody's, our bridges' place with the others too.
        context.notices.extend(others.accept_forwarding(network.device))
    return True


def _bridging(context: NetworkContext) -> list[Network]:
    """The networks whose bridge is there."""
    return [
        network
        for network in context.store.networks.all()
        if network.driver == "bridge" and exists(network.device)
    ]


def _write(context: NetworkContext, bridges: Iterable[Bridge]) -> None:
    from runengine.linux.clock import boot_id

    ports = published(context.store.endpoints.of_boot(boot_id()))
    context.firewall.replay(list(bridges), ports)


def take_down(context: NetworkContext, network: Network) -> None:
    """Remove what ``ensure_up`` made. Idempotent; nothing of the host's own is touched."""
    with context.locked(network.id):
        if network.driver == "bridge":
            from runengine.netns import bridge, others

            if bridge.is_ours(network.device):  # the zone of another's link is another's too
                others.forget_forwarding(network.device)
            with table_held(context):
                context.firewall.remove_network(network.device)
                bridge.remove(network.device)
            _drop_idle_table(context)
        elif network.driver in options.MODES and not _shared(context, network):
            from runengine.netns import parents

            parents.remove(network.device)
        for path in (_note(context, network.id), context.lock_path(network.id)):
            with suppress(FileNotFoundError):
                os.unlink(path)


def _drop_idle_table(context: NetworkContext) -> None:
    """With the last bridge goes the firewall's table: nothing of the engine stays on the host."""
    with table_held(context, alone=True):
        if not _bridging(context):
            context.firewall.remove()


def _shared(context: NetworkContext, network: Network) -> bool:
    return any(
        other.device == network.device and other.id != network.id
        for other in context.store.networks.all()
    )
