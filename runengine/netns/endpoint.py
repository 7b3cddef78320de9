"""Endpoints: the interfaces of containers, made whole or not at all.

The interface is made by the host's namespace directly inside the container's, so that it never has
another name or another place. Each step is one datagram to the kernel (netlink.py).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter, Unsupported
from runengine.netns import addressing, links, macvlan, names, namespace, refusals, sysctls, veth
from runengine.netns.netlink import Connection, NetlinkError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.netns.addressing import Interface
    from runengine.netns.types import Endpoint

_DRIVERS = {"bridge": veth.requests, "macvlan": macvlan.requests, "ipvlan": macvlan.requests}


def attach(endpoint: Endpoint, netns_fd: int) -> None:
    """Make the interface, give it all that it shall have, and set it up; or leave nothing.

    Raises InvalidParameter, NotFound, Conflict or Unsupported, which name the interface.
    """
    check(endpoint)
    requests = _DRIVERS[endpoint.driver](endpoint, netns_fd)
    made: list[str] = []
    try:
        with Connection() as host:
            namespace.call(netns_fd, lambda: _make(host, endpoint, requests, made))
    except BaseException as error:
        if made:
            _undo(endpoint, netns_fd)
        if isinstance(error, NetlinkError):
            raise refusals.of_endpoint(endpoint, error) from error
        raise


def check(endpoint: Endpoint) -> None:
    """Raise InvalidParameter or Unsupported for what can be known to be wrong beforehand."""
    names.check(endpoint.name)
    names.check(endpoint.device)
    if endpoint.driver not in _DRIVERS:
        raise InvalidParameter(f"unknown network driver {endpoint.driver!r}")
    if endpoint.driver == "bridge":
        names.check(endpoint.host_name)
    else:
        macvlan.check(endpoint)
    addresses = addressing.parse(endpoint.addresses)
    addressing.parse_gateways(endpoint.gateways)
    for key, _ in endpoint.sysctls:
        sysctls.check(key)
    if any(address.version == 6 for address in addresses) and not sysctls.has_ipv6():
        raise Unsupported(
            f"interface {endpoint.name} cannot have an IPv6 address: this kernel has IPv6"
            " disabled",
            resolution="use a network without IPv6, or boot without ipv6.disable=1",
        )


def _make(
    host: Connection, endpoint: Endpoint, requests: Sequence[bytearray], made: list[str]
) -> None:
    """In the container's namespace, and in a thread where no signal's handler comes between.

    ``made`` tells whether there is something to undo. The first request makes the interface.
    """
    errors = host.attempt(requests)
    if errors[0] is None:
        made.append(endpoint.name)
    for error in errors:
        if error is not None:
            raise error
    _configure(host, endpoint)


def _configure(host: Connection, endpoint: Endpoint) -> None:
    """All works when this returns, from the first packet on."""
    addresses = addressing.parse(endpoint.addresses)
    index = links.index_of(endpoint.name)
    if index is None:
        raise NetlinkError(errno.ENODEV)
    _set_sysctls(endpoint, addresses)  # before the interface is up: IPv6 looks at them then
    with Connection() as inside:
        set_up, look = links.come_up(index)
        adding = [addressing.add(address, index) for address in addresses]
        if endpoint.driver == "ipvlan":
            # Its MAC address is its parent's, so it is by coming up that it is announced.
            inside.execute(*adding, set_up, look)
        else:
            inside.execute(set_up, *adding, look)
        if endpoint.driver == "bridge":
            veth.await_forwarding(host, endpoint.host_name)
        addressing.await_local(inside, addresses)
        inside.execute(*_routes(endpoint, index, addresses))
        if endpoint.driver != "ipvlan":
            inside.attempt([links.announce(index, links.mac_of(endpoint.name))])


def _set_sysctls(endpoint: Endpoint, addresses: Sequence[Interface]) -> None:
    """What a user asks for comes last.

    The addresses are the engine's to give: none is taken from routers' advertisements, none is
    probed for duplicates, and neighbours that knew them elsewhere are told (``links.announce``).
    """
    name = endpoint.name
    sysctls.set_ipv4(name, "arp_notify", "1")
    if any(address.version == 6 for address in addresses):
        values = {"disable_ipv6": "0", "accept_ra": "0", "accept_dad": "0", "ndisc_notify": "1"}
    else:
        values = {"disable_ipv6": "1"}
    for key, value in values.items():
        sysctls.set_ipv6(name, key, value)
    for key, value in endpoint.sysctls:
        sysctls.set_by_key(name, key, value)


def _routes(endpoint: Endpoint, index: int, addresses: Sequence[Interface]) -> list[bytearray]:
    gateways = addressing.parse_gateways(endpoint.gateways)
    if endpoint.driver == "ipvlan" and endpoint.mode.startswith("l3") and not gateways:
        versions = sorted({address.version for address in addresses})
        return [addressing.default_route_of_link(version, index) for version in versions]
    return [addressing.default_route(gateway, index, addresses) for gateway in gateways]


def set_default_routes(netns_fd: int, endpoint: Endpoint) -> None:
    """Lead the default routes of the endpoint's families through it, wherever they led before.

    Raises NotFound if the interface is not there.
    """
    addresses = addressing.parse(endpoint.addresses)

    def change() -> None:
        index = links.index_of(endpoint.name)
        if index is None:
            raise NetlinkError(errno.ENODEV)
        with Connection() as connection:
            connection.execute(*_routes(endpoint, index, addresses))

    try:
        namespace.call(netns_fd, change)
    except NetlinkError as error:
        raise refusals.of_endpoint(endpoint, error) from error


def detach(endpoint: Endpoint, netns_fd: int) -> None:
    """Take the interface out of a living container; nothing happens if it is not there."""
    if endpoint.driver == "bridge":
        with Connection() as connection:
            links.delete(connection, endpoint.host_name)
        return

    def delete() -> None:
        with Connection() as connection:
            links.delete(connection, endpoint.name)

    namespace.call(netns_fd, delete)


def delete_host_end(host_name: str) -> None:
    """Take the host's end of a container that has ended off its bridge, and see that it goes.

    A dying namespace still answers for its addresses, which may be another container's by now.
    Unplugged it reaches nobody, in a hundredth of the time that removing takes (a grace period of
    RCU or two), and the kernel is at that anyway. Only if somebody else holds the namespace, the
    pair is removed here. Nothing happens if there is none.
    """
    names.check(host_name)
    with Connection() as connection:
        if links.unplug(connection, host_name) and links.peer_lives(connection, host_name):
            links.delete(connection, host_name)


def _undo(endpoint: Endpoint, netns_fd: int) -> None:
    """Remove what this attach made; the error that leads here is what the caller hears of."""
    try:
        detach(endpoint, netns_fd)
    except OSError:
        return  # it goes with the namespace
