"""A container's network namespace: made for a start, and what is given back after a run.

The namespace is pinned by nothing. The starting process holds it by a descriptor, which a link
leads the runtime to; then the container's processes hold it, and with the last of them the kernel
takes it, and the veth pairs in it, away. What the kernel does not know of (addresses, published
ports, names) is recorded before anything is made and given back by ``tear_down``.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from runengine.errors import Conflict, NotFound, Unavailable
from runengine.linux import pidfd
from runengine.mgr.network import port_wishes, routes
from runengine.netns.types import Published
from runengine.store.network_types import Network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.mgr.container.checkpoint_places import Address
    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record, State
    from runengine.store.network_types import ReservedEndpoint, WantedEndpoint


class Sandbox:
    """A network namespace on its way to a container, and the endpoints in it."""

    def __init__(self, fd: int, endpoints: Sequence[ReservedEndpoint]) -> None:
        self._fd = fd
        self.endpoints = endpoints

    @property
    def path(self) -> str:
        """The namespace, for other processes, while this one lives and has not closed it."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def close(self) -> None:
        """Leave the namespace to the container."""
        os.close(self._fd)


def set_up(
    context: Context,
    record: Record,
    fresh_fd: int | None = None,
    former: Sequence[Address] = (),
) -> Sandbox | None:
    """Connect a container that is about to start; None if it is on no network.

    ``fresh_fd`` is a network namespace to use: that of its user namespace, which it stays with.
    ``former`` is what it had when it was checkpointed, which it gets again where that is free.
    The container's lock is held. Raises NotFound (network), Conflict (address or port in use) and
    what the mechanisms raise; ``tear_down`` then gives back what was reserved.
    """
    networks = context.networks
    wanted = networks.wanted_of(record.id)
    if not wanted:
        return None
    known = [_network(context, one) for one in wanted]
    wishes = for_run(record, wanted, known)
    if former:
        wishes = _as_before(wishes, known, former)
    reserved = networks.reserve(record.id, wishes)
    from runengine.netns import namespace

    fd = namespace.new() if fresh_fd is None else namespace.ready(fresh_fd)
    try:
        for network in known:
            networks.ensure_up(network)
        attach(context, fd, reserved)
        networks.publish([Published(*port) for one in reserved for port in one.ports])
        networks.refresh_names([network.id for network in known])
    except BaseException:
        os.close(fd)
        raise
    _tell(context, "connect", reserved)
    return Sandbox(fd, reserved)


def of_state(name: str, state: State) -> Sandbox:
    """The namespace of a running container, for one that joins it. Raises Conflict."""
    from runengine.netns import namespace

    fd = namespace.of_process(state["Pid"])
    # Only then: before it was open the pid could have become another's.
    if not pidfd.is_alive(state["Pid"], state["StartTime"]):
        os.close(fd)
        raise Conflict(
            f"cannot join network of a non running container: {name}",
            resolution=f"start {name} first",
        )
    return Sandbox(fd, ())


def _network(context: Context, wish: WantedEndpoint) -> Network:
    try:
        return context.networks.get(wish.network)
    except NotFound:
        raise NotFound(
            f"network {wish.network_name or wish.network} not found",
            resolution="make it again, or disconnect the container from it",
        ) from None


def for_run(
    record: Record, wanted: Sequence[WantedEndpoint], networks: Sequence[Network]
) -> list[WantedEndpoint]:
    """The wishes with what only this run has: names of the interfaces, and the ports."""
    ports = port_wishes.wanted(record.config, record.host_config)
    through = routes.publishing(wanted, networks) if ports else None
    return [
        one._replace(interface=f"eth{index}", ports=ports if network.id == through else ())
        for index, (one, network) in enumerate(zip(wanted, networks, strict=True))
    ]


def _as_before(
    wishes: Sequence[WantedEndpoint], networks: Sequence[Network], former: Sequence[Address]
) -> list[WantedEndpoint]:
    had = {one.network: one for one in former}
    wanted = []
    for wish, network in zip(wishes, networks, strict=True):
        one = had.get(network.name)
        wanted.append(
            wish._replace(former=(one.ip, one.ip6), former_mac=one.mac) if one else wish
        )
    return wanted


def attach(context: Context, fd: int, reserved: Sequence[ReservedEndpoint]) -> None:
    """Make the interfaces of a whole container in a namespace, with its default routes."""
    from runengine.netns import endpoint

    for one in reserved:
        gateways = routes.gateways(reserved, one)
        link = context.networks.link_of(one, default_route=bool(gateways))
        endpoint.attach(link._replace(gateways=gateways), fd)


def tear_down(context: Context, container_id: str) -> None:
    """Give back what a run had: links, ports, names, addresses. Idempotent; the lock is held."""
    networks = context.networks
    reserved = networks.endpoints_of(container_id)
    if not reserved:
        return
    # First, so that the address answers no more when another container gets it.
    delete_host_ends(reserved)
    networks.release(container_id)
    with suppress(Unavailable):  # what is written counts; the resolver reads it when it comes
        networks.refresh_names([one.network_id for one in reserved])
    _tell(context, "disconnect", reserved)


def _tell(context: Context, action: str, reserved: Sequence[ReservedEndpoint]) -> None:
    for one in reserved:
        network = Network(one.network_id, one.network_name, one.driver, one.device, "")
        context.events.network(action, network, container=one.container_id)


def delete_host_ends(reserved: Sequence[ReservedEndpoint]) -> None:
    """Remove the host's ends of veth pairs, and the others with them; they may be gone."""
    # Mostly the kernel was faster: a look costs nothing, the netlink library does.
    here = [one.host_name for one in reserved if one.host_name and _is_there(one.host_name)]
    if here:
        from runengine.netns import endpoint

        for name in here:
            endpoint.delete_host_end(name)


def _is_there(device: str) -> bool:
    import socket

    try:
        socket.if_nametoindex(device)
    except OSError:
        return False
    return True
