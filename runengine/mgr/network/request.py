"""What ``network create`` is asked for, in Docker's words (Docker Engine API, NetworkCreate)."""

from __future__ import annotations

from typing import TypedDict


class IpamPool(TypedDict, total=False):
    """Addresses of a network: a subnet, and what is special in it."""

    Subnet: str
    IPRange: str
    Gateway: str
    AuxiliaryAddresses: dict[str, str]


class NetworkConfig(TypedDict):
    """A network that is to be created; ``IPAM`` is flat here: driver, options and pools apart."""

    Driver: str
    Scope: str
    EnableIPv4: bool
    EnableIPv6: bool
    Internal: bool
    Attachable: bool
    Ingress: bool
    ConfigOnly: bool
    ConfigFrom: str
    IPAMDriver: str
    IPAMOptions: dict[str, str]
    IPAM: list[IpamPool]
    Options: dict[str, str]
    Labels: dict[str, str]


def network_config(driver: str = "bridge") -> NetworkConfig:
    """A network with every default: the engine chooses its subnet."""
    return {
        "Driver": driver,
        "Scope": "",
        "EnableIPv4": True,
        "EnableIPv6": False,
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigOnly": False,
        "ConfigFrom": "",
        "IPAMDriver": "",
        "IPAMOptions": {},
        "IPAM": [],
        "Options": {},
        "Labels": {},
    }
