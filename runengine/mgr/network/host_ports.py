"""Which ports of the host a container gets: the wished ones, or free ones.

Chosen before the transaction, because that a program of the host listens on a port is for the
kernel to say; that no container has it is verified inside.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import Conflict, InvalidParameter
from runengine.linux.fsatomic import read_optional
from runengine.mgr.network import options
from runengine.mgr.network.context import HeldError, LostError
from runengine.netns import ipam
from runengine.store.network_types import Port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runengine.mgr.network.context import NetworkContext
    from runengine.netns.listening import Listeners
    from runengine.store.endpoints import PortHolder
    from runengine.store.network_types import Network, WantedPort

EVERY = {4: "0.0.0.0", 6: "::"}  # noqa: S104
_RANGE_FILE = "/proc/sys/net/ipv4/ip_local_port_range"
_USUAL_RANGE = (32768, 60999)


class Choice(NamedTuple):
    """The host's ports for one wish: one for each address of the host it is published on."""

    ports: Sequence[Port]
    """Their container's addresses are not known yet."""
    free: bool
    """It was our choice, so another will do as well."""


class Chooser:
    """Chooses the ports of one container, so that no two of its wishes get the same."""

    def __init__(self, context: NetworkContext) -> None:
        self._context = context
        self._mine: list[Port] = []
        self._known: dict[str, Listeners] = {}

    def choose(self, network: Network, wish: WantedPort) -> Choice:
        """Host ports for a wish.

        Raises InvalidParameter, Conflict (a program listens there), HeldError.
        """
        settings = self._context.config.publish_addresses
        addresses = list(_host_addresses(network, wish, settings))
        free = wish.host_port == 0 or wish.host_port_last > wish.host_port
        if free:
            number = self._free_one(wish, addresses)
        else:
            number = wish.host_port
            self._refuse_fixed(wish, addresses)
        ports = [
            Port(wish.protocol, address, number, "", wish.container_port, wish.count)
            for address in addresses
        ]
        self._mine += ports
        return Choice(ports, free)

    def _refuse_fixed(self, wish: WantedPort, addresses: Sequence[str]) -> None:
        for address in addresses:
            if self._is_mine(wish.protocol, address, wish.host_port, wish.count):
                raise InvalidParameter(
                    f"port {_range(wish.host_port, wish.count)}/{wish.protocol} of the host's"
                    f" address {address} is wanted twice for one container"
                )
            who = self._listeners(wish.protocol).find(address, wish.host_port, wish.count)
            if who is not None:
                raise Conflict(_refusal(address, wish.host_port, wish.count), details=str(who))

    def _free_one(self, wish: WantedPort, addresses: Sequence[str]) -> int:
        """A port that nobody has on any of the addresses. Raises HeldError."""
        holders: dict[str, None] = {}
        for number in _candidates(wish):
            if any(self._is_mine(wish.protocol, address, number, 1) for address in addresses):
                continue
            found = [self._holder(wish.protocol, address, number) for address in addresses]
            holders |= dict.fromkeys(one.container_id for one in found if one)
            listeners = self._listeners(wish.protocol)
            if not any(found) and not any(listeners.find(one, number) for one in addresses):
                return number
        first, last = _ends(wish)
        raise HeldError(
            Conflict(
                f"Bind for {_authority(addresses[0], f'{first}-{last}')} failed: all ports are"
                " allocated"
            ),
            holders,
        )

    def _listeners(self, protocol: str) -> Listeners:
        """Those of the host's programs, asked for once."""
        if protocol not in self._known:
            from runengine.netns.listening import Listeners

            self._known[protocol] = Listeners(protocol)
        return self._known[protocol]

    def _holder(self, protocol: str, address: str, number: int) -> PortHolder | None:
        return self._context.store.endpoints.port_holder(protocol, address, number, number)

    def _is_mine(self, protocol: str, address: str, first: int, count: int) -> bool:
        return any(
            port.protocol == protocol
            and _share(port.host_ip, address)
            and port.host_port < first + count
            and first < port.host_port + port.count
            for port in self._mine
        )


def verify(context: NetworkContext, choice: Choice) -> None:
    """In the transaction: raise HeldError or LostError unless nobody has the ports."""
    for port in choice.ports:
        last = port.host_port + port.count - 1
        holder = context.store.endpoints.port_holder(
            port.protocol, port.host_ip, port.host_port, last
        )
        if holder is None:
            continue
        if choice.free:
            raise LostError
        name = context.name_of(holder.container_id)
        theirs = _range(holder.first, holder.last - holder.first + 1)
        raise HeldError(
            Conflict(
                _refusal(port.host_ip, port.host_port, port.count),
                details=f"container {name} has {_authority(holder.host_ip, theirs)}",
            ),
            [holder.container_id],
        )


def _host_addresses(
    network: Network, wish: WantedPort, settings: Sequence[str]
) -> Iterator[str]:
    """Where a wish is published: at the wished address, or at those for ports that name none.

    Raises InvalidParameter for an address that cannot be, and where there would be none.
    """
    families = [family for family in (4, 6) if network.pool(family)]
    if not wish.host_ip:
        yield from _usual_addresses(network, wish, families, settings)
        return
    family = ipam.family_of(wish.host_ip)
    where = _authority(wish.host_ip, _range(wish.host_port, wish.count))
    if family not in families:
        raise InvalidParameter(
            f"cannot publish {wish.container_port}/{wish.protocol} at {where}: the container has"
            f" no IPv{family} address on network {network.name}",
            resolution="make a network with --ipv6" if family == 6 else None,
        )
    if wish.host_ip != EVERY[family] and not _is_hosts_own(wish.host_ip, family):
        raise InvalidParameter(
            f"cannot publish {wish.container_port}/{wish.protocol} at {where}: the host has no"
            " such address"
        )
    yield wish.host_ip


def _usual_addresses(
    network: Network, wish: WantedPort, families: Sequence[int], settings: Sequence[str]
) -> Iterator[str]:
    """The network's own address, else those of the settings, else all of each family."""
    binding = options.host_binding(network.options)
    usual = {4: [binding] if binding else [], 6: []}
    for address in settings:
        family = ipam.family_of(address)
        if not (family == 4 and binding):
            usual[family].append(address)
    found = [
        address
        for family in families
        for address in usual[family] or ([] if settings else [EVERY[family]])
    ]
    if not found:
        raise InvalidParameter(
            f"port {wish.container_port}/{wish.protocol} would be published nowhere:"
            f" publish_addresses has no address of network {network.name}'s family",
            resolution="add one to the configuration file, or name one: -p ADDRESS:PORT:PORT",
        )
    for address in found:
        own = address in EVERY.values() or _is_hosts_own(address, ipam.family_of(address))
        if not own and address != binding:
            raise InvalidParameter(
                f"cannot publish {wish.container_port}/{wish.protocol} at {address}: the host has"
                " no such address",
                resolution="it comes from publish_addresses in the configuration file",
            )
        yield address


def _is_hosts_own(address: str, family: int) -> bool:
    kind = socket.AF_INET6 if family == 6 else socket.AF_INET
    with socket.socket(kind, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _candidates(wish: WantedPort) -> Iterator[int]:
    """Ports to try: a wished range from its start; the kernel's from anywhere in it.

    Many containers that start at once would all try the same first one.
    """
    first, last = _ends(wish)
    anywhere = first + int.from_bytes(os.urandom(4)) % (last - first + 1)
    start = first if wish.host_port else anywhere
    yield from range(start, last + 1)
    yield from range(first, start)


def _ends(wish: WantedPort) -> tuple[int, int]:
    if wish.host_port:
        return wish.host_port, wish.host_port_last
    words = (read_optional(_RANGE_FILE) or b"").split()
    if len(words) == 2 and all(word.isdigit() for word in words):
        return int(words[0]), int(words[1])
    return _USUAL_RANGE


def _share(one: str, other: str) -> bool:
    """Whether two addresses of the host share their ports."""
    if (":" in one) != (":" in other):
        return False
    return one == other or one in EVERY.values() or other in EVERY.values()


def _refusal(address: str, first: int, count: int) -> str:
    where = _authority(address, _range(first, count))
    return (
        "driver failed programming external connectivity:"
        f" Bind for {where} failed: port is already allocated"
    )


def _range(first: int, count: int) -> str:
    return f"{first}-{first + count - 1}" if count > 1 else str(first)


def _authority(address: str, ports: str) -> str:
    return f"[{address}]:{ports}" if ":" in address else f"{address}:{ports}"
