"""Remove networks: one by one, or all that nobody needs.

The record is marked, the links are removed, the record is deleted. A removal that was cut short is
completed by the next command that creates or removes a network.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from runengine.errors import Conflict, EngineError
from runengine.mgr.network import filters as filtering
from runengine.mgr.network import names, up
from runengine.resolver import tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runengine.mgr.network.context import NetworkContext
    from runengine.store.network_types import Network


def remove(context: NetworkContext, network: Network) -> None:
    """Remove a network that no container is on. Raises Conflict naming those that are."""
    if network.builtin:
        raise Conflict(f"{network.name} is a pre-defined network and cannot be removed")
    _mark(context, network)
    _complete(context, network)
    context.events.network("destroy", network)


def _mark(context: NetworkContext, network: Network) -> None:
    """From here on nobody gets onto the network."""
    endpoints = context.store.endpoints
    context.reclaim(endpoints.holders(network.id))
    with context.store.database.write():
        holders = endpoints.holders(network.id)
        if holders:
            who = ", ".join(context.name_of(holder) for holder in holders)
            raise Conflict(
                f"error while removing network: network {network.name} has active endpoints:"
                f" {who}",
                resolution="stop or disconnect these containers first",
            )
        context.store.networks.set_removing(network, removing=True)


def _complete(context: NetworkContext, network: Network) -> None:
    try:
        up.take_down(context, network)
    except EngineError:
        with context.store.database.write():
            context.store.networks.set_removing(network, removing=False)
        raise
    with context.store.database.write():
        context.store.networks.remove(network.id)
    names.refresh(context, [network.id])


def take_down(context: NetworkContext) -> None:
    """Take from the host what networks have there that nobody is on; the records stay.

    For the end of the engine on this host: a start puts its networks up again.
    """
    for network in context.store.networks.all():
        context.reclaim(context.store.endpoints.holders(network.id))
        if not context.store.endpoints.holders(network.id):
            up.take_down(context, network)
            tables.remove(context.names_directory, network.id)


def forget(context: NetworkContext, network: Network) -> None:
    """Undo a creation that failed: the record is there, of the links perhaps some."""
    with context.store.database.write():
        context.store.networks.set_removing(network, removing=True)
    with suppress(EngineError):  # another's device was the reason, perhaps
        up.take_down(context, network)
    with context.store.database.write():
        context.store.networks.remove(network.id)


def discard(context: NetworkContext, network_id: str) -> None:
    """Delete a record that cannot be read: what it says of links is not known."""
    with context.store.database.write():
        context.store.networks.remove(network_id)


def sweep(context: NetworkContext) -> None:
    """Complete removals that were cut short; those that still fail stay for the next."""
    for network in context.store.networks.all(removing=True):
        with suppress(EngineError):
            _complete(context, network)


def prune(context: NetworkContext, filters: Mapping[str, Sequence[str]]) -> list[str]:
    """Remove the networks that no container is on or is to be on; names of those removed."""
    test = filtering.for_prune(filters)
    sweep(context)
    used = context.store.endpoints.networks_in_use()
    removed = []
    for network in context.store.networks.all():
        if network.builtin or network.id in used or not test(network):
            continue
        with suppress(Conflict):  # somebody got onto it just now
            remove(context, network)
            removed.append(network.name)
    context.events.pruned("network")
    return removed
