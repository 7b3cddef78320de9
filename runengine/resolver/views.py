"""Who may see which names: every table, arranged for questions. Replaced whole on a change."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runengine.resolver.tables import Host, Table

    Labels = tuple[bytes, ...]
    Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_LABEL = 63
MAX_NAME = 253


def labels_of(name: str) -> Labels | None:
    """A name as questions have it, in lower case; None for one that no question can have.

    What is not ASCII stays as it is (UTF-8): nothing here converts between alphabets.
    """
    labels = tuple(name.encode(errors="surrogateescape").lower().removesuffix(b".").split(b"."))
    if sum(map(len, labels)) + len(labels) > MAX_NAME + 1:
        return None
    return labels if all(0 < len(label) <= MAX_LABEL for label in labels) else None


class Network:
    """The names of one table."""

    __slots__ = ("_by_container", "_names", "_reverse", "_subnets", "labels", "table")

    def __init__(self, table: Table) -> None:
        self.table = table
        self.labels = labels_of(table.name) or ()
        self._subnets = _subnets(table.subnets)
        self._names: dict[Labels, list[str]] = {}
        self._by_container: dict[str, tuple[str, ...]] = {}
        self._reverse: dict[str, str] = {}
        for host in table.hosts:
            self._add(host)

    def _add(self, host: Host) -> None:
        addresses = tuple(filter(None, map(canonical, host.addresses)))
        self._by_container[host.container_id] = addresses
        for labels in dict.fromkeys(map(labels_of, host.names)):
            if labels:
                self._names.setdefault(labels, []).extend(addresses)
        if host.names:
            for address in addresses:
                self._reverse[address] = f"{host.names[0]}.{self.table.name}"

    def has_source(self, address: str) -> bool:
        """Whether the address is on this network, whoever has it."""
        found = ipaddress.ip_address(address)
        return any(found in subnet for subnet in self._subnets)

    def addresses(self, labels: Labels) -> list[str] | None:
        """By name, or by name and network (``db.backend``); None for an unknown name."""
        found = self._names.get(labels)
        own = self.labels
        if found is None and own and labels[-len(own) :] == own:
            found = self._names.get(labels[: -len(own)])
        return found

    def of_container(self, container_id: str) -> tuple[str, ...]:
        """Addresses of one container, by its id."""
        return self._by_container.get(container_id, ())

    def name_of(self, address: str) -> str | None:
        """The name that an address has, with the network's."""
        return self._reverse.get(address)


def _subnets(texts: Iterable[str]) -> list[Subnet]:
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            continue
    return found


def canonical(address: str) -> str | None:
    """The address in the form that the kernel prints; None if it is none."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return None


class View(NamedTuple):
    """What one who asks may see."""

    networks: tuple[Network, ...]
    upstream: tuple[str, ...] | None
    """None: the host's servers."""
    internal: bool
    """Nobody else is asked: all its networks are internal."""
    links: dict[Labels, str]
    """Names of its own to container ids."""

    def addresses(self, labels: Labels) -> list[str] | None:
        """All addresses of a name, on every network that it is seen on; None: no such name."""
        container_id = self.links.get(labels)
        if container_id is not None:
            linked = [network.of_container(container_id) for network in self.networks]
            return [address for found in linked for address in found] or None
        known = [network.addresses(labels) for network in self.networks]
        if all(found is None for found in known):
            return None
        return list(dict.fromkeys(address for found in known for address in found or ()))

    def name_of(self, address: str) -> str | None:
        """The name of an address that is seen."""
        for network in self.networks:
            name = network.name_of(address)
            if name:
                return name
        return None


class Index:
    """All networks, by the address that is asked at and the address that asks."""

    def __init__(self, tables: Sequence[Table]) -> None:
        networks = [Network(table) for table in tables]
        self.has_hosts = any(table.hosts for table in tables)
        self.by_gateway = {
            gateway: network
            for network in networks
            for gateway in filter(None, map(canonical, network.table.gateways))
        }
        self._hosts: dict[str, list[tuple[Network, Host]]] = {}
        self._by_container: dict[str, list[tuple[Network, Host]]] = {}
        for network in networks:
            for host in network.table.hosts:
                self._by_container.setdefault(host.container_id, []).append((network, host))
                for address in filter(None, map(canonical, host.addresses)):
                    self._hosts.setdefault(address, []).append((network, host))

    def view(self, source: str, gateway: str) -> View | None:
        """What ``source`` sees, who asks at ``gateway``; None: it has no business here.

        A container sees all its networks, wherever it asks. Others on the network, such as the
        host or an address that a container gave itself, see that network.
        """
        asked = self.by_gateway.get(gateway)
        here = self._hosts.get(source, [])
        for network, host in here:
            if network is asked or len(here) == 1:
                return self._view_of(host, asked)
        if asked and asked.has_source(source):
            return View((asked,), asked.table.upstream, asked.table.internal, {})
        return None

    def _view_of(self, host: Host, asked: Network | None) -> View:
        places = self._by_container[host.container_id]
        places = sorted(places, key=lambda place: place[0] is not asked)
        networks = tuple(dict.fromkeys(network for network, _ in places))
        outward = [network.table for network in networks if not network.table.internal]
        own = [server for _, one in places for server in one.upstream]
        links = {
            labels: container_id
            for _, one in places
            for name, container_id in one.links
            if (labels := labels_of(name))
        }
        upstream = tuple(dict.fromkeys(own)) or (outward[0].upstream if outward else None)
        return View(networks, upstream, not outward, links)
