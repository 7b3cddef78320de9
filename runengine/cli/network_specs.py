"""Grammar of ``--network``: a network, and what is wanted on it. Raises ValueError.

Docker's form is ``NAME`` or ``name=NAME,ip=…,alias=…``; ``NAME:key=value,…`` (Podman's) is the
same. There are also ``NAME:ADDRESS``, ``ADDRESS`` (on the default network), and
``NAME[:ADDRESS]:mode``, where the word ``mode`` says that this one of several networks is the
container's first.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from runengine.cli.run_values import ip_address
from runengine.model import endpoint_config

if TYPE_CHECKING:
    from runengine.model import EndpointConfig, IpamConfig

DEFAULT = "default"
_PREFIXES = ("container:", "netns:")
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}")
_KEYS = (
    *("name", "alias", "driver-opt", "gw-priority", "ip", "ip6"),
    *("link", "link-local-ip", "mac-address", "mac"),
)


class NetworkSpec(NamedTuple):
    """One ``--network``."""

    name: str
    endpoint: EndpointConfig
    first: bool = False
    """It said that it is the container's first network."""


def network(text: str) -> NetworkSpec:
    """What one ``--network`` asks for."""
    if not text.strip():
        raise ValueError("invalid network: it cannot be empty")
    if text.startswith(_PREFIXES):
        return NetworkSpec(text, endpoint_config())
    name, colon, rest = text.partition(":")
    if "=" in name:
        return _long(text, "")
    if _is_address(text):
        return NetworkSpec(DEFAULT, _with_address(text))
    if not colon:
        return NetworkSpec(text, endpoint_config())
    if "=" in rest:
        return _long(rest, name)
    return _short(text, name, rest)


def _short(text: str, name: str, rest: str) -> NetworkSpec:
    """``NAME:ADDRESS``, ``NAME:mode`` or ``NAME:ADDRESS:mode``."""
    first = rest == "mode" or rest.endswith(":mode")
    address = rest.removesuffix("mode").removesuffix(":") if first else rest
    if not name or (address and not _is_address(address)) or not rest:
        forms = "NAME, NAME:ADDRESS or NAME:key=value"
        raise ValueError(f"invalid network {text!r}: expected {forms}")
    return NetworkSpec(name, _with_address(address) if address else endpoint_config(), first)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _with_address(text: str) -> EndpointConfig:
    endpoint = endpoint_config()
    address = ip_address(text)
    endpoint["IPAMConfig"] = (
        {"IPv6Address": address} if ":" in address else {"IPv4Address": address}
    )
    return endpoint


def _long(text: str, name: str) -> NetworkSpec:
    endpoint = endpoint_config()
    for part in text.split(","):
        key, equals, value = part.partition("=")
        key = key.strip().lower()
        if not equals:
            raise ValueError(f'invalid field "{part}" in network {text!r}: expected key=value')
        if key not in _KEYS:
            raise ValueError(f'invalid field key "{key}": known are {", ".join(_KEYS)}')
        if key == "name":
            name = value
        else:
            set_field(endpoint, key, value)
    if not name:
        raise ValueError(f"invalid network {text!r}: its name is missing")
    return NetworkSpec(name, endpoint)


def set_field(endpoint: EndpointConfig, key: str, value: str) -> None:
    """Set one key of the long form."""
    if key in ("ip", "ip6", "link-local-ip"):
        _set_address(endpoint, key, value)
    elif key == "alias":
        endpoint["Aliases"] = [*(endpoint["Aliases"] or []), _word(value, "alias")]
    elif key == "link":
        endpoint["Links"] = [*(endpoint["Links"] or []), link(value)]
    elif key in ("mac-address", "mac"):
        endpoint["MacAddress"] = mac_address(value)
    elif key == "driver-opt":
        name, equals, setting = value.partition("=")
        if not equals or not name:
            raise ValueError(f"invalid key value pair format in driver options: {value!r}")
        endpoint["DriverOpts"] = {**(endpoint["DriverOpts"] or {}), name.strip(): setting.strip()}
    else:
        endpoint["GwPriority"] = _priority(value)


def _set_address(endpoint: EndpointConfig, key: str, value: str) -> None:
    ipam: IpamConfig = endpoint["IPAMConfig"] or {}
    if key == "ip":
        ipam["IPv4Address"] = address_of(value, 4)
    elif key == "ip6":
        ipam["IPv6Address"] = address_of(value, 6)
    else:
        ipam["LinkLocalIPs"] = [*ipam.get("LinkLocalIPs", []), ip_address(value)]
    endpoint["IPAMConfig"] = ipam


def address_of(text: str, family: int) -> str:
    """An address of one family."""
    address = ip_address(text)
    if (":" in address) != (family == 6):
        raise ValueError(f"invalid IPv{family} address: {text}")
    return address


def ipv4(text: str) -> str:
    """``--ip``."""
    return address_of(text, 4)


def ipv6(text: str) -> str:
    """``--ip6``."""
    return address_of(text, 6)


def mac_address(text: str) -> str:
    """A unicast Ethernet address, in lower case with colons."""
    if not _MAC.fullmatch(text):
        raise ValueError(f"{text} is not a valid mac address")
    address = text.lower().replace("-", ":")
    if int(address[:2], 16) & 1 or not address.strip("0:"):
        raise ValueError(f"{text} is not a valid mac address: it is no single station's")
    return address


def _word(text: str, what: str) -> str:
    if not text or any(letter.isspace() for letter in text):
        raise ValueError(f"invalid {what} {text!r}")
    return text


def alias(text: str) -> str:
    """``--network-alias``."""
    return _word(text, "network alias")


def link(text: str) -> str:
    """``NAME[:ALIAS]`` with the alias filled in."""
    name, colon, other = text.partition(":")
    if not name or (colon and not other) or ":" in other:
        raise ValueError(f"bad format for links: {text}")
    return f"{_word(name, 'link')}:{_word(other or name.removeprefix('/'), 'link')}"


def _priority(text: str) -> int:
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()) or not -(1 << 31) <= int(text) < 1 << 31:
        raise ValueError(f"invalid gw-priority ({text}): expected a number")
    return int(text)
