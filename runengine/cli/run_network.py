"""The network flags of ``run``, ``create`` and ``spec``: networks, addresses, names, ports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.cli.network_specs import DEFAULT
from runengine.errors import InvalidParameter
from runengine.model import endpoint_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runengine.cli.network_specs import NetworkSpec
    from runengine.model import ContainerConfig, EndpointConfig, HostConfig, IpamConfig

    Endpoints = dict[str, EndpointConfig]

_ALONE = ("none", "host")
_FOREIGN = ("container", "netns")
# Flags about the first network, the field of its endpoint that says the same, and the conflict.
_FIRST = (
    ("network_alias", "Aliases", "--network-alias and per-network alias"),
    ("link", "Links", "--link and per-network links"),
    ("ip", "IPv4Address", "--ip and per-network IPv4 address"),
    ("ip6", "IPv6Address", "--ip6 and per-network IPv6 address"),
    ("link_local_ip", "LinkLocalIPs", "--link-local-ip and per-network link-local IP addresses"),
    ("mac_address", "MacAddress", "--mac-address and per-network MAC address"),
)


def apply(
    params: Mapping[str, Any], config: ContainerConfig, host: HostConfig
) -> tuple[Endpoints, list[str]]:
    """Set the network fields of both configurations; what is wanted on each network, warnings.

    Raises InvalidParameter for flags that contradict each other.
    """
    specs = _in_order(params["network"])
    mode = specs[0].name if specs else ""
    host["NetworkMode"] = mode
    host["PublishAllPorts"] = params["publish_all"]
    _set_ports(params, config, host)
    first = _first_endpoint(params, specs[0].endpoint if specs else endpoint_config())
    if mode.startswith("container:"):
        _refuse_foreign(params, config, host)
    if is_default(mode) and first["Links"]:
        host["Links"], first["Links"] = first["Links"], None
    endpoints = {spec.name: spec.endpoint for spec in specs[1:]}
    if mode in _ALONE or mode.partition(":")[0] in _FOREIGN:
        return {}, _refuse_alone(mode, first, host)
    return {mode or DEFAULT: first, **endpoints}, []


def is_default(mode: str) -> bool:
    """Whether a network mode means the default network."""
    return mode in ("", DEFAULT, "bridge")


def _in_order(specs: tuple[NetworkSpec, ...]) -> list[NetworkSpec]:
    """Each network once, the container's first one in front."""
    found: dict[str, NetworkSpec] = {}
    for spec in specs:
        name = DEFAULT if is_default(spec.name) else spec.name
        if name in found and found[name] != spec:
            raise InvalidParameter(f'network "{spec.name}" is specified multiple times')
        found[name] = spec
    kinds = {name for name in found if name in _ALONE or name.partition(":")[0] in _FOREIGN}
    if kinds and len(found) > 1:
        raise InvalidParameter(
            f"conflicting options: cannot attach to {', '.join(found)} at once",
            resolution=f"--network {sorted(kinds)[0]} goes with no other network",
        )
    return sorted(found.values(), key=lambda spec: not spec.first)


def _first_endpoint(params: Mapping[str, Any], endpoint: EndpointConfig) -> EndpointConfig:
    """What the flags for a single network add to the first one."""
    fields: dict[str, Any] = {**endpoint}
    ipam: IpamConfig = {**(endpoint["IPAMConfig"] or {})}
    for name, field, conflict in _FIRST:
        given = params[name]
        if not given:
            continue
        target: dict[str, Any] = fields if field in fields else ipam  # type: ignore[assignment]
        if target.get(field):
            raise InvalidParameter(f"conflicting options: cannot specify both {conflict}")
        target[field] = list(given) if isinstance(given, tuple) else given
    fields["IPAMConfig"] = ipam or None
    return fields  # type: ignore[return-value]


def _set_ports(params: Mapping[str, Any], config: ContainerConfig, host: HostConfig) -> None:
    bindings: dict[str, list[dict[str, str]]] = {}
    for specs in params["publish"]:
        for spec in specs:
            binding = {"HostIp": spec.host_ip, "HostPort": spec.host_port}
            kept = bindings.setdefault(spec.port, [])
            if binding not in kept:
                kept.append(binding)
    host["PortBindings"] = bindings
    exposed = [port for ports in params["expose"] for port in ports]
    config["ExposedPorts"] = {port: {} for port in (*exposed, *bindings)}


def _refuse_foreign(
    params: Mapping[str, Any], config: ContainerConfig, host: HostConfig
) -> None:
    """A joined network brings its addresses, host name and resolver's files along."""
    for given, what in (
        (config["Hostname"], "hostname and the network mode"),
        (host["Dns"] or host["DnsOptions"] or host["DnsSearch"], "dns and the network mode"),
        (host["ExtraHosts"], "custom host-to-IP mapping and the network mode"),
        (params["mac_address"], "mac-address and the network mode"),
        (params["link"], "container type network can't be used with links"),
        (
            host["PortBindings"] or host["PublishAllPorts"],
            "port publishing and the container type network mode",
        ),
        (config["ExposedPorts"], "port exposing and the container type network mode"),
    ):
        if given:
            raise InvalidParameter(f"conflicting options: {what}")


def _refuse_alone(mode: str, endpoint: EndpointConfig, host: HostConfig) -> list[str]:
    """Refuse what needs a network of the engine's; warnings about ports, which are dropped."""
    if endpoint["Links"]:
        raise InvalidParameter(f"conflicting options: network {mode} can't be used with links")
    if endpoint["IPAMConfig"] or endpoint["MacAddress"] or endpoint["DriverOpts"]:
        raise InvalidParameter(
            "conflicting options: addresses, driver options and the network mode",
            resolution=f"network {mode} is not one that the engine connects containers to",
        )
    if endpoint["Aliases"]:
        raise InvalidParameter(
            "network-scoped aliases are only supported for user-defined networks"
        )
    if not host["PortBindings"] and not host["PublishAllPorts"]:
        return []
    host["PortBindings"], host["PublishAllPorts"] = {}, False
    return [f"Published ports are discarded when using {mode} network mode"]
