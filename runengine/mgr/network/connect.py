"""``network connect`` and ``disconnect``: at once where the container runs, and for later starts.

The record comes first: what is cut short leaves an endpoint that is written down, and the same
command again, or the end of the container's run, puts it right.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from runengine.errors import Conflict, NotFound
from runengine.linux import pidfd
from runengine.mgr.container import network_files, observe
from runengine.mgr.container.recover import settle
from runengine.mgr.network import modes, port_wishes, routes, wishes
from runengine.model import endpoint_config
from runengine.netns.types import Published

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runengine.mgr.container.context import Context
    from runengine.model import EndpointConfig
    from runengine.store.containers import Record, State
    from runengine.store.network_types import Network, ReservedEndpoint, WantedEndpoint


def connect(
    context: Context, network: str, container: str, endpoint: EndpointConfig | None = None
) -> None:
    """Connect a container to one more network.

    Raises NotFound, InvalidParameter (an address that the network cannot give), Conflict
    (connected already, or a container that shares another's or the host's network).
    """
    found = context.networks.get(network)
    with context.locked(context.resolve(container)) as record:
        state = settle(context, record)
        _check_mode(record)
        _check_network(found)
        wish = wishes.wish(found, endpoint or endpoint_config())
        pid = state["Pid"] if observe.is_live(state) else 0
        _refuse_second(context, record, found, pid)
        if pid:
            _connect_live(context, record, state, found, wish)
        else:
            context.networks.want(record.id, [wish])
        context.events.network("connect", found, container=record.id)


def disconnect(context: Context, network: str, container: str) -> None:
    """Disconnect a container from a network. Raises NotFound, Conflict (not connected)."""
    with context.locked(context.resolve(container)) as record:
        state = settle(context, record)
        network_id = _wished_id(context, record, network)
        if observe.is_live(state):
            _disconnect_live(context, record, state, network_id)
        context.networks.unwant(record.id, network_id)
        with suppress(NotFound):  # it may be no more than a wish by now
            found = context.networks.get(network_id)
            context.events.network("disconnect", found, container=record.id)


def _wished_id(context: Context, record: Record, network: str) -> str:
    """The id of the network that the container is to be on; it may have been removed."""
    wanted = context.networks.wanted_of(record.id)
    try:
        found = context.networks.get(network)
    except NotFound:
        for wish in wanted:
            if network in (wish.network_name, wish.network):
                return wish.network
        raise
    _check_network(found)
    if found.id not in {wish.network for wish in wanted}:
        raise Conflict(f"container {record.name} is not connected to network {found.name}")
    return found.id


def _check_mode(record: Record) -> None:
    mode = record.host_config["NetworkMode"]
    if mode == modes.NONE:
        raise Conflict(
            "container cannot be connected to multiple networks with one of the networks in"
            " private (none) mode",
            resolution=f"make {record.name} without --network none",
        )
    if not modes.has_networks(mode):
        raise Conflict(
            "container sharing network namespace with another container or host cannot be"
            " connected to any other network",
            resolution=f"{record.name} has network mode {mode}",
        )


def _check_network(network: Network) -> None:
    if network.driver == wishes.HOST_DRIVER:
        raise Conflict(
            "container cannot be disconnected from host network or connected to host network"
        )
    if network.driver == wishes.NULL_DRIVER:
        raise Conflict("container cannot be connected to network none or disconnected from it")


def _refuse_second(context: Context, record: Record, network: Network, pid: int) -> None:
    """Refuse what is connected, but for an endpoint that a command died over, which goes."""
    if network.id not in {wish.network for wish in context.networks.wanted_of(record.id)}:
        return
    made = _on(context.networks.endpoints_of(record.id), network.id)
    if made is None or not pid or _has_interface(pid, made.interface):
        raise Conflict(
            f"endpoint with name {record.name} already exists in network {network.name}"
        )
    context.networks.release(record.id, network.id)


def _has_interface(pid: int, name: str) -> bool:
    try:
        with open(f"/proc/{pid}/net/dev", encoding="ascii") as file:
            return any(line.partition(":")[0].strip() == name for line in file)
    except OSError:
        return False


def _on(reserved: Sequence[ReservedEndpoint], network_id: str) -> ReservedEndpoint | None:
    return next((one for one in reserved if one.network_id == network_id), None)


@contextmanager
def _namespace_of(record: Record, state: State) -> Iterator[int]:
    """A running container's network namespace; its pid is looked at after it was opened."""
    from runengine.netns import namespace

    fd = namespace.of_process(state["Pid"])
    try:
        if not pidfd.is_alive(state["Pid"], state["StartTime"]):
            raise Conflict(f"Container {record.name} is not running")
        yield fd
    finally:
        os.close(fd)


def _connect_live(
    context: Context, record: Record, state: State, network: Network, wish: WantedEndpoint
) -> None:
    networks = context.networks
    before = networks.endpoints_of(record.id)
    with _namespace_of(record, state) as fd:
        try:
            networks.reserve(record.id, [_for_run(record, before, network, wish)])
            after = networks.endpoints_of(record.id)
            networks.ensure_up(network)
            _attach(context, fd, before, after)
            networks.publish(_published(_on(after, network.id)))
            networks.refresh_names([network.id])
        except BaseException:
            _remove(context, fd, record, network.id)
            networks.unwant(record.id, network.id)
            raise
    network_files.change(context, record, before, after)


def _for_run(
    record: Record, before: Sequence[ReservedEndpoint], network: Network, wish: WantedEndpoint
) -> WantedEndpoint:
    """With a free interface name, and with the ports if no other network can have them.

    Where another has them they stay until the next start, even if the default route moves.
    """
    taken = {one.interface for one in before}
    free = next(name for name in map("eth{}".format, range(len(taken) + 1)) if name not in taken)
    ports = port_wishes.wanted(record.config, record.host_config)
    able = routes.publishing([wish], [network]) and not any(one.ports for one in before)
    return wish._replace(interface=free, ports=ports if able else ())


def _attach(
    context: Context,
    fd: int,
    before: Sequence[ReservedEndpoint],
    after: Sequence[ReservedEndpoint],
) -> None:
    """Make the new interface; the default routes move to it if they are to."""
    from runengine.netns import endpoint

    for one in after:
        if _on(before, one.network_id) is not None:
            continue
        link = context.networks.link_of(one, default_route=False)
        endpoint.attach(link, fd)
        gateways = routes.gateways(after, one)
        if gateways:
            endpoint.set_default_routes(fd, link._replace(gateways=gateways))


def _disconnect_live(context: Context, record: Record, state: State, network_id: str) -> None:
    before = context.networks.endpoints_of(record.id)
    gone = _on(before, network_id)
    if gone is None:
        return
    after = [one for one in before if one is not gone]
    with _namespace_of(record, state) as fd:
        _move_ports(context, gone, after)
        _remove(context, fd, record, network_id)
        _move_routes(context, fd, before, after)
    network_files.change(context, record, before, after)


def _remove(context: Context, fd: int, record: Record, network_id: str) -> None:
    """Take an endpoint out of a running container and give back what it had. Idempotent."""
    from runengine.netns import endpoint

    networks = context.networks
    gone = _on(networks.endpoints_of(record.id), network_id)
    if gone is None:
        return
    endpoint.detach(networks.link_of(gone, default_route=False), fd)
    networks.release(record.id, network_id)
    networks.refresh_names([network_id])


def _published(one: ReservedEndpoint | None) -> list[Published]:
    return [Published(*port) for port in one.ports] if one else []


def _move_routes(
    context: Context,
    fd: int,
    before: Sequence[ReservedEndpoint],
    after: Sequence[ReservedEndpoint],
) -> None:
    """The default routes went with their interface: lead them through those that are left."""
    from runengine.netns import endpoint

    for one in after:
        gateways = routes.gateways(after, one)
        if gateways and gateways != routes.gateways(before, one):
            link = context.networks.link_of(one, default_route=True)
            endpoint.set_default_routes(fd, link._replace(gateways=gateways))


def _move_ports(
    context: Context, gone: ReservedEndpoint, rest: Sequence[ReservedEndpoint]
) -> None:
    """Let published ports go on through the network that has the default route now.

    They stay reserved all the while; the firewall leads a port to one place only.
    """
    if not gone.ports or not rest:
        return
    known = [context.networks.get(one.network_id) for one in rest]
    through = _on(rest, routes.publishing([one.wanted for one in rest], known) or "")
    if through is not None:
        context.store.endpoints.move_ports(gone, through)
        moved = _on(context.networks.endpoints_of(gone.container_id), through.network_id)
        context.networks.publish(_published(moved))
