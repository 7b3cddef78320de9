"""A host without links: what the network manager asks of it, and what it has made there."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

from runengine.netns import (
    bridge,
    capabilities,
    forwarding,
    listening,
    others,
    parents,
    plugging,
    routes,
)
from runengine.netns.firewall import Firewall, TableMissing

if TYPE_CHECKING:
    import pytest

    from runengine.netns.types import Bridge, Endpoint, Published


class Socket(NamedTuple):
    """A program that listens."""

    protocol: str
    port: int

    def __str__(self) -> str:
        return f"nginx (pid 7) listens on 0.0.0.0:{self.port}/{self.protocol}"


class FakeHost:
    """Links by name, one firewall table, sockets; notes what was done in ``log``."""

    def __init__(self) -> None:
        self.used: list[str] = ["192.0.2.0/24"]
        self.links: dict[str, int] = {"eth0": 2}
        self.addresses = {"127.0.0.1", "::1", "192.0.2.2"}
        self.drivers = {"macvlan", "ipvlan"}
        self.sockets: list[Socket] = []
        self.table: set[str] | None = None
        self.published: set[Published] = set()
        self.plugged: list[Endpoint] = []
        self.forwarding: list[str] = []
        self.allowed: list[str] = []
        self.log: list[str] = []
        self.failing: Exception | None = None
        self._next = 10

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Let the mechanisms work on this host."""
        patch.setattr(routes, "used_networks", self.used_networks)
        patch.setattr(bridge, "ensure", self.ensure_bridge)
        patch.setattr(bridge, "remove", self.remove_link)
        patch.setattr(bridge, "is_ours", lambda device: device.startswith("br-"))
        patch.setattr(parents, "ensure", self.make_link)
        patch.setattr(parents, "remove", self.remove_link)
        patch.setattr(forwarding, "enable", lambda _: self.forwarding)
        patch.setattr(others, "accept_forwarding", self.accept_forwarding)
        patch.setattr(others, "forget_forwarding", self.forget_forwarding)
        patch.setattr(plugging, "plug_in", lambda endpoints: self.plugged.extend(endpoints))
        patch.setattr(capabilities, "driver_available", lambda kind: kind in self.drivers)
        patch.setattr("runengine.mgr.network.up._index", lambda name: self.links.get(name, 0))
        patch.setattr(
            "runengine.mgr.network.host_ports._is_hosts_own",
            lambda address, _: address in self.addresses,
        )
        patch.setattr(listening, "Listeners", lambda protocol: _Listeners(self, protocol))
        for name in ("add_network", "remove_network", "publish", "withdraw", "replay", "is_whole",
                     "remove"):  # fmt: skip
            patch.setattr(Firewall, name, getattr(self, f"fw_{name}"))

    def accept_forwarding(self, device: str) -> list[str]:
        self.allowed.append(device)
        return []

    def forget_forwarding(self, device: str) -> None:
        if device in self.allowed:
            self.allowed.remove(device)

    def used_networks(self) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        return [ipaddress.ip_network(text) for text in self.used]

    def make_link(self, device: str) -> int:
        if self.failing:
            raise self.failing
        if device not in self.links:
            self._next += 1
            self.links[device] = self._next
            self.log.append(f"make {device}")
        return self.links[device]

    def ensure_bridge(self, wanted: Bridge) -> None:
        self.make_link(wanted.device)
        self.addresses |= {address.partition("/")[0] for address in wanted.addresses}
        self.log.append(f"ensure {wanted.device}")

    def remove_link(self, device: str) -> None:
        if self.failing:
            raise self.failing
        if self.links.pop(device, None):
            self.log.append(f"remove {device}")

    def fw_add_network(self, wanted: Bridge) -> None:
        if self.table is None:
            raise TableMissing("no table")
        self.table.add(wanted.device)

    def fw_remove_network(self, device: str) -> None:
        if self.table is not None:
            self.table.discard(device)

    def fw_publish(self, published: list[Published]) -> None:
        if self.table is None:
            raise TableMissing("no table")
        self.published.update(published)

    def fw_withdraw(self, published: list[Published]) -> None:
        self.published.difference_update(published)

    def fw_replay(self, bridges: list[Bridge], published: list[Published]) -> None:
        self.table = {one.device for one in bridges}
        self.published = set(published)
        self.log.append("replay")

    def fw_is_whole(self) -> bool:
        return self.table is not None

    def fw_remove(self) -> None:
        self.table = None


class _Listeners:
    def __init__(self, host: FakeHost, protocol: str) -> None:
        self._sockets = [one for one in host.sockets if one.protocol == protocol]

    def find(self, _address: str, port: int, count: int = 1) -> Socket | None:
        here = (one for one in self._sockets if port <= one.port < port + count)
        return next(here, None)
