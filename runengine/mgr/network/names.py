"""By which names containers find each other: written from what is reserved on their networks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from runengine import ids
from runengine.errors import AmbiguousName, EngineError, NotFound, StateError
from runengine.linux.clock import boot_id
from runengine.mgr.network import options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.mgr.network.context import NetworkContext
    from runengine.resolver.tables import Host, Table
    from runengine.store.containers import Record
    from runengine.store.network_types import Network, ReservedEndpoint


def resolves(network: Network) -> bool:
    """Whether the resolver answers on the network.

    Not on the default one, as users of Docker know it; and it listens on a bridge.
    """
    return network.driver == "bridge" and not network.builtin


def refresh(context: NetworkContext, network_ids: Iterable[str]) -> None:
    """Write the tables of these networks anew, and have the resolver run if one has somebody.

    Raises Unavailable if it cannot serve them; the tables are written all the same.
    """
    from runengine.resolver import tables

    gateways: list[str] = []
    for network_id in dict.fromkeys(network_ids):
        try:
            network = context.store.networks.get(network_id)
        except (NotFound, StateError):  # removed, or nobody knows what it was
            tables.remove(context.names_directory, network_id)
            continue
        if resolves(network):
            table = _update(context, network)
            gateways += table.gateways if table.hosts else ()
        elif network.driver in options.MODES:
            from runengine.mgr.network import neighbours

            neighbours.write(context, network, partial(hosts, context, network_id))
    if gateways:
        from runengine.resolver import launch

        launch.ensure(context.config.paths, gateways)


def _update(context: NetworkContext, network: Network) -> Table:
    from runengine.resolver import tables

    made: list[Table] = []

    def make() -> Table:
        made.append(_table(context, network))
        return made[-1]

    tables.update(context.names_directory, network.id, make)
    return made[-1]


def _table(context: NetworkContext, network: Network) -> Table:
    """The table of a network; an empty one lets the resolver wait a while for the next."""
    from runengine.resolver.tables import Table

    return Table(
        network.id,
        network.name,
        gateways=tuple(pool.gateway for pool in network.pools),
        subnets=tuple(pool.subnet for pool in network.pools),
        hosts=tuple(hosts(context, network.id)),
        internal=network.internal,
    )


def hosts(context: NetworkContext, network_id: str) -> list[Host]:
    """The containers that are on a network now."""
    return [
        _host(context, record, endpoint)
        for endpoint in context.store.endpoints.on(network_id, boot_id())
        if (record := _record(context, endpoint.container_id)) is not None
    ]


def _record(context: NetworkContext, container_id: str) -> Record | None:
    try:
        return context.store.containers.get(container_id)
    except EngineError:  # gone just now, or damaged
        return None


def _host(context: NetworkContext, record: Record, endpoint: ReservedEndpoint) -> Host:
    from runengine.resolver.tables import Host

    wanted = endpoint.wanted
    return Host(
        record.id,
        tuple(dns_names(record, wanted.aliases)),
        tuple(filter(None, (endpoint.ip, endpoint.ip6))),
        upstream=tuple(record.host_config["Dns"]),
        links=tuple(_links(context, wanted.links)),
    )


def dns_names(record: Record, aliases: Iterable[str]) -> list[str]:
    """By which names a container is found on a user-defined network; the first is its own."""
    hostname = record.config["Hostname"]
    found = (record.name, *aliases, ids.short(record.id), *([hostname] if hostname else ()))
    return list(dict.fromkeys(found))


def _links(context: NetworkContext, links: Iterable[str]) -> Iterable[tuple[str, str]]:
    for link in links:
        target, _, alias = link.partition(":")
        try:
            yield alias or target, context.store.containers.resolve(target)
        except (NotFound, AmbiguousName):
            continue  # the linked container may come later
