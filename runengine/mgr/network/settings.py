"""``NetworkSettings`` of a container in Docker's shape, and the ports of a listing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.mgr.network import names, port_wishes, wishes
from runengine.mgr.network.modes import BRIDGE, HOST, NONE, has_networks
from runengine.model import endpoint_config
from runengine.store.network_types import ReservedEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record, State
    from runengine.store.network_types import Port, WantedEndpoint

    Document = dict[str, Any]

_NOTHING = ReservedEndpoint("", "", "", "", "", "", "")


def network_settings(context: Context, record: Record, state: State, *, live: bool) -> Document:
    """Docker's ``NetworkSettings``; ``live``: the container runs, so its endpoints count."""
    mode = record.host_config["NetworkMode"]
    joined = mode.startswith("container:")
    reserved = context.networks.endpoints_of(record.id) if has_networks(mode) else []
    reserved = reserved if live else []
    wanted = context.networks.wanted_of(record.id) if has_networks(mode) else []
    made = {one.network_id: one for one in reserved}
    networks = {
        wish.network_name: _endpoint(record, wish, made.get(wish.network)) for wish in wanted
    }
    if mode in (HOST, NONE):
        networks = {mode: _builtin(context, mode)}
    default = next((one for one in reserved if one.network_name == BRIDGE), _NOTHING)
    return {
        "Bridge": "",
        "SandboxID": record.id if live and not joined else "",
        "SandboxKey": f"/proc/{state['Pid']}/ns/net" if live and not joined else "",
        "Ports": ports_document(record, _published(reserved)) if live and not joined else {},
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **_addresses(default),
        "Networks": networks,
    }


def _addresses(one: ReservedEndpoint) -> Document:
    """What an endpoint has, under the names that Docker also uses for the default network's."""
    return {
        "EndpointID": one.id,
        "Gateway": one.gateway,
        "GlobalIPv6Address": one.ip6,
        "GlobalIPv6PrefixLen": one.ip6_prefix,
        "IPAddress": one.ip,
        "IPPrefixLen": one.ip_prefix,
        "IPv6Gateway": one.gateway6,
        "MacAddress": one.mac,
    }


def _endpoint(record: Record, wish: WantedEndpoint, made: ReservedEndpoint | None) -> Document:
    wanted = wishes.document(wish)
    if wish.network_name == BRIDGE:
        wanted["Links"] = None  # they are the container's own: HostConfig.Links
    return {
        **wanted,
        "NetworkID": wish.network,
        **_addresses(made or _NOTHING),
        "MacAddress": made.mac if made else wanted["MacAddress"],
        "DNSNames": None if wish.network_name == BRIDGE else names.dns_names(record, wish.aliases),
    }


def _builtin(context: Context, mode: str) -> Document:
    return {
        **endpoint_config(),
        "NetworkID": context.networks.get(mode).id,
        **_addresses(_NOTHING),
        "DNSNames": None,
    }


def ports_document(record: Record, published: Iterable[Port]) -> Document:
    """Docker's ``Ports``: where each port is published; null for one that is only exposed."""
    found: dict[str, list[dict[str, str]] | None] = {}
    for text in record.config["ExposedPorts"] or {}:
        number, protocol = port_wishes.parse_port(text)
        found[f"{number}/{protocol}"] = None
    for port in published:
        for step in range(port.count):
            key = f"{port.container_port + step}/{port.protocol}"
            binding = {"HostIp": port.host_ip, "HostPort": str(port.host_port + step)}
            found[key] = [*(found.get(key) or []), binding]
    return dict(sorted(found.items(), key=lambda item: _port_order(item[0])))


def _port_order(text: str) -> tuple[int, str]:
    number, _, protocol = text.partition("/")
    return int(number), protocol


def _published(reserved: Iterable[ReservedEndpoint]) -> list[Port]:
    return [port for one in reserved for port in one.ports]


def listed_ports(record: Record, published: Iterable[Port]) -> list[Document]:
    """The ports of a running container in the shape of Docker's ``/containers/json``."""
    entries: list[Document] = []
    for key, bindings in ports_document(record, published).items():
        number, protocol = _port_order(key)
        if bindings is None:
            entries.append({"PrivatePort": number, "Type": protocol})
        entries += [
            {
                "IP": binding["HostIp"],
                "PrivatePort": number,
                "PublicPort": int(binding["HostPort"]),
                "Type": protocol,
            }
            for binding in bindings or ()
        ]
    return entries
