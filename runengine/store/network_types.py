"""What the database keeps of networks: plain values, no rows."""

from __future__ import annotations

from typing import NamedTuple


class Pool(NamedTuple):
    """Addresses that a network gives to its containers: one of each family at most."""

    subnet: str
    """With its prefix length, such as ``172.17.0.0/16``."""
    gateway: str = ""
    """Of this subnet; empty where the network has none."""
    ip_range: str = ""
    """The part of the subnet that addresses are chosen from; empty: all of it."""
    aux: dict[str, str] = {}  # noqa: RUF012
    """Addresses that are in use elsewhere, by the names of those who have them."""
    chosen: bool = False
    """The subnet is the engine's choice, so no container may ask for an address of it."""

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.subnet else 4

    @property
    def prefix(self) -> int:
        """The subnet's prefix length."""
        return int(self.subnet.rpartition("/")[2])


class Network(NamedTuple):
    """A network as stored."""

    id: str
    name: str
    driver: str
    """``bridge``, ``macvlan``, ``ipvlan``; ``host`` and ``null`` for the built-in two."""
    device: str
    """The bridge, or the parent link of a macvlan or ipvlan; empty for ``host`` and ``null``."""
    created_at: str
    """RFC 3339, UTC."""
    pools: tuple[Pool, ...] = ()
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    builtin: bool = False
    removing: bool = False
    """Its links are being removed; then the record goes. To all others it is gone."""
    labels: dict[str, str] = {}  # noqa: RUF012
    options: dict[str, str] = {}  # noqa: RUF012
    """Of the driver, as the user gave them."""
    ipam_options: dict[str, str] = {}  # noqa: RUF012

    def pool(self, family: int) -> Pool | None:
        """The pool of this family, if there is one."""
        return next((pool for pool in self.pools if pool.family == family), None)


class WantedPort(NamedTuple):
    """Ports of a container that are to be reachable at ports of the host."""

    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""
    """Empty: every address of each family that the container has (or the network's option)."""
    host_port: int = 0
    """The first of ``count`` host ports; 0: any that are free."""
    host_port_last: int = 0
    """With ``count`` 1: any free one from ``host_port`` to this; 0: ``host_port`` itself."""
    count: int = 1  # type: ignore[assignment]  # nobody needs tuple.count here
    """How many ports in a row, on both sides; 1 where the host's may be chosen."""


class WantedEndpoint(NamedTuple):
    """A user's wishes for one container on one network. All but the first may be left out."""

    network: str
    """The network's id, or a name that is looked up when the endpoint is made."""
    network_name: str = ""
    """Its name then, should the network be made anew."""
    ip: str = ""
    ip6: str = ""
    mac: str = ""
    link_local: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    """``CONTAINER:ALIAS``."""
    driver_opts: dict[str, str] = {}  # noqa: RUF012
    gw_priority: int = 0
    interface: str = ""
    """Its name in the container for this run; not kept."""
    ports: tuple[WantedPort, ...] = ()
    """To be published for this run; not kept."""
    former: tuple[str, ...] = ()
    """Addresses that this run is to have if nobody else does, as it goes on from a checkpoint;
    not kept, as ``former_mac``."""
    former_mac: str = ""


class Port(NamedTuple):
    """Host ports that an endpoint has; the fields of ``netns.types.Published`` in its order."""

    protocol: str
    host_ip: str
    host_port: int
    container_ip: str
    container_port: int
    count: int = 1  # type: ignore[assignment]  # nobody needs tuple.count here


class ReservedEndpoint(NamedTuple):
    """An endpoint of a run: everything about it is decided and recorded, made or not."""

    container_id: str
    network_id: str
    network_name: str
    driver: str
    id: str
    interface: str
    """In the container, such as ``eth0``."""
    device: str
    """The bridge, or the parent of a macvlan or ipvlan."""
    host_name: str = ""
    """The host's end of the veth pair; empty for other drivers."""
    mac: str = ""
    ip: str = ""
    ip_prefix: int = 0
    gateway: str = ""
    """Where a default route may lead; empty on an internal network."""
    ip6: str = ""
    ip6_prefix: int = 0
    gateway6: str = ""
    mtu: int = 0
    mode: str = ""
    """Of a macvlan or ipvlan."""
    isolated: bool = False
    """Containers on the network do not reach each other."""
    wanted: WantedEndpoint = WantedEndpoint("")
    """The wishes it was made by."""
    ports: tuple[Port, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses with their prefix lengths, link-local ones too."""
        local = (f"{a}/64" if ":" in a else f"{a}/16" for a in self.wanted.link_local)
        pairs = ((self.ip, self.ip_prefix), (self.ip6, self.ip6_prefix))
        return (*(f"{address}/{length}" for address, length in pairs if address), *local)
