"""/etc/hostname, hosts and resolv.conf of a container: written at each start, bound read-write.

What is connected or disconnected while the container runs is changed in them line by line: the
files are the container's as well, and it may have written into them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from runengine.linux import locks
from runengine.linux.fsatomic import replace
from runengine.mgr.network.modes import BRIDGE, has_networks
from runengine.oci_spec import network_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record
    from runengine.store.network_types import ReservedEndpoint

READ_LIMIT = 1 << 20
HOSTS, RESOLV_CONF = "/etc/hosts", "/etc/resolv.conf"


def write(
    context: Context,
    record: Record,
    hostname: str,
    directory: str,
    *,
    join: str | None,
    endpoints: Sequence[ReservedEndpoint] = (),
) -> dict[str, str]:
    """Write the files into ``directory``; returns container path to host file.

    A container that joins the network of ``join`` shares that one's files. ``endpoints`` are what
    it has on its networks.
    """
    if join is not None:
        other = context.store.containers.get(context.resolve(join))
        shared: dict[str, str] = other.details.get("network_files", {})
        return shared
    written = {}
    for path, text in _texts(context, record, hostname, endpoints).items():
        target = f"{directory}/{os.path.basename(path)}"
        replace(target, text.encode(), mode=0o644, durable=False)
        written[path] = target
    return written


def _texts(
    context: Context, record: Record, hostname: str, endpoints: Sequence[ReservedEndpoint]
) -> dict[str, str]:
    host = record.host_config
    shared = host["NetworkMode"] == "host"
    hosts = network_files.hosts(
        hostname,
        domain=record.config["Domainname"],
        addresses=_addresses(endpoints),
        extra=host["ExtraHosts"],
        links=_links(context, record),
        host_gateways=("127.0.0.1",) if shared else _gateways(context, endpoints),
    )
    if shared and not host["ExtraHosts"]:
        hosts = _host_file(HOSTS) or hosts
    return {
        "/etc/hostname": network_files.hostname(hostname),
        HOSTS: hosts,
        RESOLV_CONF: _resolv_conf(context, record, endpoints),
    }


def _addresses(endpoints: Sequence[ReservedEndpoint]) -> list[str]:
    return [address for one in endpoints for address in (one.ip, one.ip6) if address]


def _links(context: Context, record: Record) -> list[tuple[str, str]]:
    if not record.host_config.get("Links"):
        return []
    from runengine.mgr.network import links

    return [(one.address, one.names) for one in links.resolve(context, record)]


def _gateways(context: Context, endpoints: Sequence[ReservedEndpoint]) -> list[str]:
    """The host's addresses on the first network, one of each family."""
    return _bridge_addresses(context, endpoints[0]) if endpoints else []


def _bridge_addresses(context: Context, one: ReservedEndpoint) -> list[str]:
    """The host's own on a network; also where no default route leads to them."""
    if one.driver != "bridge":
        return []
    own = ((4, one.ip), (6, one.ip6))
    network = context.networks.get(one.network_id)
    pools = [network.pool(family) for family, address in own if address]
    return [pool.gateway for pool in pools if pool is not None and pool.gateway]


def _resolv_conf(
    context: Context, record: Record, endpoints: Sequence[ReservedEndpoint]
) -> str:
    return network_files.resolv_conf(
        record.host_config,
        _host_file(RESOLV_CONF),
        private=record.host_config["NetworkMode"] != "host",
        resolvers=_resolvers(context, endpoints),
    )


def _resolvers(context: Context, endpoints: Sequence[ReservedEndpoint]) -> list[str]:
    """Where the engine's resolver listens for the container; the first network's comes first."""
    found = []
    for one in endpoints:
        if not context.networks.get(one.network_id).builtin:
            found += _bridge_addresses(context, one)[:1]
    return found


def _host_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(READ_LIMIT)
    except OSError:
        return ""


def change(
    context: Context,
    record: Record,
    before: Sequence[ReservedEndpoint],
    after: Sequence[ReservedEndpoint],
) -> None:
    """Bring the files of a running container in line with what it is connected to now."""
    files = record.details.get("network_files", {})
    if not has_networks(record.host_config["NetworkMode"]) or HOSTS not in files:
        return
    names = network_files.own_names(record.details["hostname"], record.config["Domainname"])
    old, new = (
        [network_files.host_line(address, names) for address in _addresses(one)]
        for one in (before, after)
    )
    change_lines(record, [line for line in old if line not in new],
                 [line for line in new if line not in old])
    here = {one.network_id for one in after}
    for one in before:
        if one.network_id not in here:
            set_neighbours(record, one.network_name, ())
    was, now = (_resolv_conf(context, record, one) for one in (before, after))
    # One that the container has written is its own.
    if was != now and _host_file(files[RESOLV_CONF]) == was:
        _rewrite(files[RESOLV_CONF], now)


def tell_linked(
    context: Context, record: Record, endpoints: Sequence[ReservedEndpoint]
) -> None:
    """Let running containers with a link to this one, which just starts, find it where it is."""
    from runengine.mgr.network import links

    for one in endpoints:
        if one.network_name != BRIDGE:
            continue  # elsewhere links are the resolver's
        for container_id in context.store.endpoints.linking_on(one.network_id):
            other = context.find(container_id)
            if other is None or other.id == record.id:
                continue
            for link in links.to(context, other, record, one.ip or one.ip6):
                line = network_files.host_line(link.address, link.names)
                change_lines(other, [f"*\t{link.names}"], [line])


def change_lines(record: Record, gone: Sequence[str], come: Sequence[str]) -> None:
    """Take lines out of a running container's hosts file and add others."""
    if gone or come:
        _change_hosts(record, lambda text: network_files.changed_hosts(text, gone, come))


def set_neighbours(record: Record, network: str, lines: Sequence[str]) -> None:
    """Let these be the lines of a running container's hosts file about others on a network."""
    _change_hosts(record, lambda text: network_files.with_neighbours(text, network, lines))


def _change_hosts(record: Record, change: Callable[[str], str]) -> None:
    """Others on the container's networks start and end when they like, and write in it then."""
    path = record.details.get("network_files", {}).get(HOSTS)
    if not path or not os.path.exists(path):
        return
    # Not the file, which the container can lock as well.
    with locks.directory_locked(os.path.dirname(path)):
        text = _host_file(path)
        changed = change(text)
        if changed != text:
            _rewrite(path, changed)


def _rewrite(path: str, text: str) -> None:
    """Change a file in place: it is bound in a container, so its inode must stay."""
    with suppress(FileNotFoundError), open(path, "r+b") as file:
        data = text.encode()
        file.write(data)
        file.truncate(len(data))
