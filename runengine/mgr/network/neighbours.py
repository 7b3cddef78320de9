"""Names on networks that the host is no part of: lines in the containers' /etc/hosts.

On a macvlan or an ipvlan a container does not reach its host, so no resolver there can answer it.
A network's lines are written whole and from what is reserved on it, so that what a crash has left
is put right when the next container comes or goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import EngineError
from runengine.mgr.container import network_files
from runengine.oci_spec.network_files import host_line, is_host_entry
from runengine.resolver import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runengine.mgr.network.context import NetworkContext
    from runengine.resolver.tables import Host
    from runengine.store.network_types import Network


def write(context: NetworkContext, network: Network, look: Callable[[], list[Host]]) -> None:
    """Let the containers on a network know each other as ``look`` says that they are called."""
    # Of two that start at once the later one has seen both.
    with tables.locked(context.names_directory, network.id):
        hosts = look()
        for host in hosts:
            try:
                record = context.store.containers.get(host.container_id)
            except EngineError:  # gone just now, or damaged
                continue
            network_files.set_neighbours(record, network.name, lines(host, hosts, network.name))


def lines(host: Host, others: Iterable[Host], network: str) -> list[str]:
    """What a container's hosts file says of all on a network, itself included."""
    found = []
    for other in others:
        own = (alias for alias, container_id in host.links if container_id == other.container_id)
        names = dict.fromkeys((*other.names, f"{other.names[0]}.{network}", *own))
        text = " ".join(filter(is_host_entry, names))  # an alias may be anything
        found += [host_line(address, text) for address in other.addresses]
    return found
