"""Networks: addresses and ports against containers, links and the firewall against records."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from runengine.linux.locks import is_locked
from runengine.mgr.check.world import Difference
from runengine.mgr.network import reload, removal, up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.check.world import World
    from runengine.store.network_types import Network

_HOST_END = re.compile(r"ve[0-9a-f]{12}")


def stale_reservations(world: World) -> Iterator[Difference]:
    """Addresses and host ports that are kept for a run that there is no record of."""
    for what, name, container_id in world.store.endpoints.stale():
        yield Difference(
            what,
            name,
            f"it is reserved for container {container_id[:12]}, which has no such endpoint",
            "free it",
            world.store.endpoints.drop_stale,
        )


def half_removed(world: World) -> Iterator[Difference]:
    """Networks whose removal was cut short."""
    for network in world.store.networks.all(removing=True):
        if not is_locked(world.networks.lock_path(network.id)):
            yield Difference(
                "network",
                network.name,
                "its removal was cut short",
                "complete it",
                partial(removal.sweep, world.networks),
            )


def missing_bridges(world: World) -> Iterator[Difference]:
    """Bridges that running containers should be plugged into."""
    for network in _bridges(world):
        holders = world.store.endpoints.holders(network.id)
        if not up.exists(network.device) and world.live.intersection(holders):
            yield Difference(
                "network",
                network.name,
                f"its bridge {network.device} is gone: its containers reach nobody",
                "make it anew and plug them in",
                partial(reload.reload, world.networks, [network]),
            )


def stray_links(world: World) -> Iterator[Difference]:
    """Host ends on our bridges whose container has no such endpoint."""
    from runengine.linux.clock import boot_id
    from runengine.netns import endpoint, plugging

    for network in _bridges(world):
        if not up.exists(network.device):
            continue
        # Links before records: whoever starts meanwhile is on record before it is plugged in.
        plugged = plugging.plugged_into(network.device)
        known = {one.host_name for one in world.store.endpoints.on(network.id, boot_id())}
        for name in plugged:
            if _HOST_END.fullmatch(name) and name not in known:
                yield Difference(
                    "link",
                    name,
                    f"it is plugged into {network.device}, and belongs to no container",
                    "delete it",
                    partial(endpoint.delete_host_end, name),
                )


def _bridges(world: World) -> list[Network]:
    return [network for network in world.store.networks.all() if network.driver == "bridge"]


def firewall(world: World) -> Iterator[Difference]:
    """The nftables table: whether it has all bridges and published ports, and no others."""
    table = world.networks.firewall
    here = [network for network in _bridges(world) if up.exists(network.device)]
    replay = partial(up.replay, world.networks)
    if not here:
        if _has_table(world):
            yield Difference(
                "firewall",
                table.table,
                "the table is there and no network is up",
                "remove it",
                table.remove,
            )
        return
    if not table.is_whole():
        yield Difference(
            "firewall",
            table.table,
            "the table is missing, or others have written to it: published ports lead nowhere",
            "write it anew",
            replay,
        )
        return
    stale, missing = _compared(world, here)
    for count, what in (
        (stale, "leads to containers that are gone"),
        (missing, "lacks networks or published ports"),
    ):
        if count:
            yield Difference(
                "firewall",
                table.table,
                f"the table {what} ({count} element{'s' if count > 1 else ''})",
                "write it anew",
                replay,
            )


def _has_table(world: World) -> bool:
    from runengine.netns import nftables

    return nftables.comment(world.networks.firewall.table) is not None


def _compared(world: World, here: list[Network]) -> tuple[int, int]:
    """How many elements the table has too many, and how many of running containers it lacks.

    One that is just starting has its ports on record before they are in the table.
    """
    from runengine.linux.clock import boot_id
    from runengine.netns import elements, nftables

    table = world.networks.firewall.table
    with up.table_held(world.networks, alone=True):
        found = {stored for name in elements.KINDS for stored in nftables.dump(table, name)}
        endpoints = world.store.endpoints.of_boot(boot_id())
    bridges = [one for network in here for one in elements.of_bridge(up.bridge_of(network))]
    ports = elements.of_all(up.published(endpoints))
    running = elements.of_all(
        up.published(one for one in endpoints if one.container_id in world.live)
    )
    known = set(nftables.encode([*bridges, *ports]))
    needed = set(nftables.encode([*bridges, *running]))
    return len(found - known), len(needed - found)


def names(world: World) -> Iterator[Difference]:
    """The resolver's tables of networks that are gone."""
    from runengine.resolver import tables

    for network_id in tables.ids(world.networks.names_directory):
        if not world.store.networks.has(network_id):
            yield Difference(
                "names",
                network_id[:12],
                "the resolver has names of a network that is gone",
                "remove them",
                partial(tables.remove, world.networks.names_directory, network_id),
            )


CHECKS = (stale_reservations, half_removed, missing_bridges, stray_links, firewall, names)
