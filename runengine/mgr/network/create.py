"""Create a network: decide everything, record it, then make the bridge.

What is impossible is refused before anything exists; a bridge that cannot be made takes the record
with it.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from runengine import ids
from runengine.errors import Conflict, InvalidParameter, NotFound, Unsupported
from runengine.linux import clock
from runengine.mgr.network import builtin, options, removal, subnets, up
from runengine.netns import ipam
from runengine.store.network_types import Network, Pool

if TYPE_CHECKING:
    from runengine.mgr.network.context import NetworkContext
    from runengine.mgr.network.request import IpamPool, NetworkConfig

DRIVERS = ("bridge", "macvlan", "ipvlan")
MAX_NAME = 128
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


def create(context: NetworkContext, name: str, config: NetworkConfig) -> Network:
    """Create a network. Raises InvalidParameter, NotFound (driver), Conflict, Unsupported."""
    wanted = plan(name, config)
    removal.sweep(context)
    builtin.ensure(context)
    _check_host(wanted)
    network = _record(context, wanted, config)
    try:
        up.ensure_up(context, network)
    except BaseException:
        removal.forget(context, network)
        raise
    context.events.network("create", network)
    return network


def plan(name: str, config: NetworkConfig) -> Network:
    """The network as far as the request decides it."""
    check_name(name)
    builtin.refuse_name(name)
    driver = config["Driver"] or "bridge"
    _check_driver(driver, name)
    _check_kind(config, name)
    network_id = ids.new_id()
    pools = tuple(_pool(given, name) for given in config["IPAM"])
    network = Network(
        network_id,
        name,
        driver,
        _device(network_id, driver, config["Options"]),
        clock.now(),
        pools,
        ipv6=config["EnableIPv6"] or any(pool.family == 6 for pool in pools),
        internal=config["Internal"] or _leads_nowhere(driver, config["Options"]),
        attachable=config["Attachable"],
        labels=dict(config["Labels"]),
        options=dict(config["Options"]),
        ipam_options=dict(config["IPAMOptions"]),
    )
    options.check(network)
    _check_families(network, ipv4=config["EnableIPv4"])
    return network


def check_name(name: str) -> None:
    """Raise InvalidParameter for a name that a network cannot have."""
    if not name.strip():
        raise InvalidParameter("invalid network name: it is empty")
    if len(name) > MAX_NAME:
        raise InvalidParameter(f"invalid network name: it is longer than {MAX_NAME} characters")
    if not _NAME.fullmatch(name):
        raise InvalidParameter(
            f"invalid network name {name!r}: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )
    if name == "default" or ids.is_id(name):
        raise InvalidParameter(f"invalid network name {name!r}: it means something else already")


def _check_driver(driver: str, name: str) -> None:
    if driver in DRIVERS:
        return
    if driver in ("host", "null"):
        raise Conflict(f"network {name}: only one instance of {driver!r} network is allowed")
    known = f"drivers are {', '.join(DRIVERS)}"
    if driver == "overlay":
        raise Unsupported(
            f"network {name}: driver overlay joins several hosts; runengine is for one host",
            resolution=known,
        )
    raise NotFound(f"network {name}: network driver {driver!r} not found", resolution=known)


def _check_kind(config: NetworkConfig, name: str) -> None:
    if config["Scope"] not in ("", "local"):
        raise Unsupported(
            f"network {name}: scope {config['Scope']!r} joins several hosts",
            resolution="runengine is for one host: the scope is local",
        )
    for given, what in (
        (config["ConfigFrom"], "--config-from"),
        (config["ConfigOnly"], "--config-only"),
        (config["Ingress"], "--ingress"),
    ):
        if given:
            raise Unsupported(f"network {name}: {what} is for clusters, and not supported")
    if config["IPAMDriver"] not in ("", "default"):
        raise NotFound(
            f"network {name}: IPAM driver {config['IPAMDriver']!r} not found",
            resolution="the driver is default",
        )


def _pool(given: IpamPool, name: str) -> Pool:
    """A pool that the user asked for, with everything in it checked against its subnet."""
    if not given.get("Subnet"):
        raise InvalidParameter(
            f"network {name}: an ip-range, gateway or aux-address needs a subnet",
            resolution="name it with --subnet",
        )
    subnet = ipam.parse_subnet(given["Subnet"])
    text = str(subnet)
    ip_range = given.get("IPRange") or ""
    if ip_range:
        part = ipam.parse_subnet(ip_range, "ip-range")
        if part.version != subnet.version or not part.subnet_of(subnet):  # type: ignore[arg-type]
            raise InvalidParameter(f"invalid ip-range {part}: it is not in subnet {text}")
        ip_range = str(part)
    gateway = given.get("Gateway") or ""
    gateway = _own(gateway, text, "gateway") if gateway else subnets.first_address(text)
    aux = {
        who: _own(address, text, "aux-address")
        for who, address in (given.get("AuxiliaryAddresses") or {}).items()
    }
    return Pool(text, gateway, ip_range, aux)


def _own(address: str, subnet: str, what: str) -> str:
    number = ipam.number(address)
    family = ipam.family_of(subnet)
    if not ipam.contains(subnet, address):
        raise InvalidParameter(f"invalid {what} {address}: it is not in subnet {subnet}")
    first, last = ipam.usable(subnet)
    if not first <= number <= last:
        raise InvalidParameter(f"invalid {what} {address}: no host of {subnet} can have it")
    return ipam.text(number, family)


def _device(network_id: str, driver: str, given: dict[str, str]) -> str:
    if driver == "bridge":
        return given.get(options.BRIDGE_NAME) or f"br-{network_id[:12]}"
    return given.get(options.PARENT) or f"{up.NOWHERE}{network_id[:12]}"


def _leads_nowhere(driver: str, given: dict[str, str]) -> bool:
    """Whether a network is on no link of the host, as macvlan and ipvlan are without a parent."""
    return driver != "bridge" and not given.get(options.PARENT)


def _check_families(network: Network, *, ipv4: bool) -> None:
    for family in (4, 6):
        same = [pool.subnet for pool in network.pools if pool.family == family]
        if len(same) > 1:
            raise InvalidParameter(
                f"network {network.name}: several IPv{family} subnets ({', '.join(same)})",
                resolution="a network has one of each family; make a network for each",
            )
    if not ipv4 and (network.pool(4) or not network.ipv6):
        raise InvalidParameter(
            f"network {network.name}: IPv4 is off, so it needs IPv6 and no IPv4 subnet"
        )
    if network.ipv6 and not os.path.isdir("/proc/sys/net/ipv6/conf"):
        raise Unsupported(f"network {network.name}: this kernel has IPv6 disabled")


def _check_host(network: Network) -> None:
    """Raise what the host says to it: a driver that is not there, a subnet that is the host's."""
    from runengine.netns import names

    names.check(network.device)
    if network.driver == "bridge":
        if not up.exists(network.device):
            subnets.refuse_hosts_own(network.name, network.pools)
        return
    from runengine.netns import capabilities

    if not capabilities.driver_available(network.driver):
        raise Unsupported(
            f"network {network.name}: this kernel has no {network.driver}",
            resolution=f"load the module: modprobe {network.driver}",
        )


def _record(context: NetworkContext, wanted: Network, config: NetworkConfig) -> Network:
    """Choose the subnets that are left to us and write the record: one transaction."""
    families = [
        family
        for family, on in ((4, config["EnableIPv4"]), (6, wanted.ipv6))
        if on and wanted.pool(family) is None
    ]
    used = subnets.used_by_host() if families else []
    with context.store.database.write():
        subnets.refuse_overlaps(context, wanted.name, wanted.pools)
        taken = [*used, *subnets.of_networks(context)]
        chosen = tuple(subnets.choose(context, family, taken) for family in families)
        network = wanted._replace(
            pools=tuple(sorted((*wanted.pools, *chosen), key=lambda pool: pool.family))
        )
        _refuse_other_driver(context, network)
        context.store.networks.add(network)
    return network


def _refuse_other_driver(context: NetworkContext, network: Network) -> None:
    """A link cannot be the parent of macvlans and ipvlans at once."""
    for other in context.store.networks.all():
        if other.device == network.device != "" and other.driver != network.driver:
            raise Conflict(
                f"network {network.name}: link {network.device} belongs to network"
                f" {other.name}, whose driver is {other.driver}"
            )
