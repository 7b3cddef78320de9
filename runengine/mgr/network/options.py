"""Options of the drivers, by Docker's names. Those that mean nothing to us are kept and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runengine.store.network_types import Network

BRIDGE_NAME = "com.docker.network.bridge.name"
ICC = "com.docker.network.bridge.enable_icc"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
MTU = "com.docker.network.driver.mtu"
PARENT = "parent"
MODES = {
    "macvlan": ("macvlan_mode", ("bridge", "private", "vepa", "passthru")),
    "ipvlan": ("ipvlan_mode", ("l2", "l3", "l3s")),
}
"""By driver: the option that names a mode, and the modes, the usual one first."""
IFNAME = "com.docker.network.endpoint.ifname"
SYSCTLS = "com.docker.network.endpoint.sysctls"
MIN_MTU, MAX_MTU = 68, 65535
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


def flag(options: Mapping[str, str], name: str, *, default: bool) -> bool:
    """A switch. Raises InvalidParameter for what is none."""
    value = options.get(name)
    if value is None or value == "":
        return default
    if value not in _TRUE and value not in _FALSE:
        raise InvalidParameter(f"invalid value {value!r} of option {name}: true or false is one")
    return value in _TRUE


def mtu(options: Mapping[str, str]) -> int:
    """Bytes; 0 is the kernel's default. Raises InvalidParameter."""
    value = options.get(MTU) or "0"
    number = int(value) if value.isascii() and value.isdigit() and len(value) < 9 else -1
    if number and not MIN_MTU <= number <= MAX_MTU:
        raise InvalidParameter(
            f"invalid value {value!r} of option {MTU}: expected {MIN_MTU} to {MAX_MTU} bytes"
        )
    return number


def host_binding(options: Mapping[str, str]) -> str:
    """The host's address of ports published without one; empty: all of them."""
    value = options.get(HOST_BINDING, "")
    if value:
        from runengine.netns import ipam

        ipam.packed(value)
        if ipam.family_of(value) != 4:
            raise InvalidParameter(f"invalid value {value!r} of option {HOST_BINDING}: no IPv4")
    return value


def mode(network_driver: str, options: Mapping[str, str]) -> str:
    """Mode of a macvlan or ipvlan; empty for other drivers. Raises InvalidParameter."""
    if network_driver not in MODES:
        return ""
    name, known = MODES[network_driver]
    value = options.get(name) or known[0]
    if value not in known:
        raise InvalidParameter(
            f"invalid value {value!r} of option {name}", resolution=f"one of {' '.join(known)}"
        )
    return value


def check(network: Network) -> None:
    """Raise InvalidParameter unless every option that means something has a value that does."""
    for name in (ICC, MASQUERADE):
        flag(network.options, name, default=True)
    mtu(network.options)
    host_binding(network.options)
    mode(network.driver, network.options)


def sysctls(driver_opts: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Settings of an endpoint's interface: ``net.ipv4.conf.IFNAME.name=value,…``.

    Raises InvalidParameter.
    """
    pairs = []
    for setting in filter(None, driver_opts.get(SYSCTLS, "").split(",")):
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise InvalidParameter(f"option {SYSCTLS}: {setting!r} is no KEY=VALUE")
        pairs.append((key.strip(), value.strip()))
    return tuple(pairs)
