"""What the network mechanisms are told: plain values, all decided by the network manager."""

from __future__ import annotations

from typing import NamedTuple


class Bridge(NamedTuple):
    """A bridge of the host that containers are plugged into."""

    device: str
    addresses: tuple[str, ...]
    """The host's own on it, each with its prefix length; the containers' gateways."""
    mtu: int = 0
    """Bytes; 0 leaves the kernel's default."""
    internal: bool = False
    """Nothing is forwarded to or from other links."""
    icc: bool = True
    """Whether containers on it may talk to each other."""
    masquerade: bool = True
    """Whether what leaves the host has the host's source address."""


class Endpoint(NamedTuple):
    """One interface of one container."""

    driver: str
    """``bridge``, ``macvlan`` or ``ipvlan``."""
    device: str
    """The bridge, or the parent link of a macvlan or ipvlan."""
    name: str
    """In the container, such as ``eth0``."""
    addresses: tuple[str, ...]
    """Each with its prefix length."""
    host_name: str = ""
    """Name of the host's end of a veth pair (bridge only)."""
    mode: str = ""
    """Of a macvlan or ipvlan (``bridge``, ``private``, ``l2``, ``l3`` ...); empty: the usual."""
    mac: str = ""
    """Empty: the kernel's choice."""
    gateways: tuple[str, ...] = ()
    """Default routes lead there, at most one for each family."""
    mtu: int = 0
    """Bytes; 0 leaves the device's."""
    sysctls: tuple[tuple[str, str], ...] = ()
    """Settings of the interface: ``net.ipv4.conf.IFNAME.…`` and their values."""
    isolated: bool = False
    """It reaches the host and what is behind it, but no other isolated endpoint of its bridge."""


class Published(NamedTuple):
    """Ports of the host that lead to ports of a container."""

    protocol: str
    """``tcp``, ``udp`` or ``sctp``."""
    host_ip: str
    """An address of the host; ``0.0.0.0`` and ``::`` are all of their family."""
    host_port: int
    container_ip: str
    """Of the same family as ``host_ip``."""
    container_port: int
    count: int = 1  # type: ignore[assignment]  # nobody needs tuple.count here
    """How many ports in a row, on both sides."""


class Counters(NamedTuple):
    """What went through an interface since it was made, from the container's point of view."""

    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int
