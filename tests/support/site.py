"""A host with networks and containers behind a router, all of them network namespaces.

    client ── router ── host ── alpha: a1, a2    beta: b1    internal: i1, i2    apart: d1, d2

``host`` is where bridges, firewall and sysctls are ours; addresses are of documentation ranges.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runengine.netns import bridge, endpoint, forwarding, namespace
from runengine.netns.firewall import Firewall
from runengine.netns.types import Bridge, Endpoint
from tests.support.hosts import Host, wire
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

CLIENT, CLIENT6 = "198.51.100.2", "2001:db8:1::2"
HOST, HOST6 = "203.0.113.5", "2001:db8:2::5"
ROUTER, ROUTER6 = "203.0.113.1", "2001:db8:2::1"
TABLE = "runengine-site"

ALPHA = Bridge("alpha", ("10.81.0.1/24", "fd81::1/64"))
BETA = Bridge("beta", ("10.82.0.1/24", "fd82::1/64"))
INTERNAL = Bridge("internal", ("10.83.0.1/24", "fd83::1/64"), internal=True)
APART = Bridge("apart", ("10.84.0.1/24", "fd84::1/64"), icc=False)
BRIDGES = (ALPHA, BETA, INTERNAL, APART)


def is_ready(host: Host) -> bool:
    """Whether IPv6 works on its wires: the kernel looks for new carriers once a second."""
    wires = host.ok("sh", "-c", "ls -d /proc/sys/net/ipv6/conf/wire*").split()
    found = host.ok("ip", "-o", "-6", "address", "show", "scope", "link", "-tentative")
    return found.count(": wire") == len(wires)


class Container:
    """A namespace on a bridge."""

    def __init__(self, network: Bridge, number: int) -> None:
        gateways = tuple(address.split("/")[0] for address in network.addresses)
        self.ip, self.ip6 = (f"{gateway[:-1]}{number}" for gateway in gateways)
        self.network = network
        self.netns_fd = namespace.new()
        self.endpoint = Endpoint(
            "bridge",
            network.device,
            "eth0",
            (f"{self.ip}/24", f"{self.ip6}/64"),
            host_name=f"ve{network.device}{number}",
            gateways=() if network.internal else gateways,
            isolated=not network.icc,
        )

    def close(self) -> None:
        """Let the namespace go."""
        os.close(self.netns_fd)


class Site:
    """All of it, in its own namespaces."""

    def __init__(self, directory: Path) -> None:
        self._hosts = [Host(directory / name) for name in ("client", "router", "host")]
        self.client_host, self.router_host, self.host = self._hosts
        self.client, self.router, self.netns_fd = (
            namespace.of_process(one.pid) for one in self._hosts
        )
        self.firewall = Firewall(TABLE, admin_file=str(directory / "admin.nft"))
        self.admin_file = directory / "admin.nft"
        self._wire()
        self.containers: dict[str, Container] = {}
        self.notices: list[str] = []
        with self.entered():
            for network in BRIDGES:
                bridge.ensure(network)
                self.notices += forwarding.enable(network)
            self.firewall.replay(BRIDGES, ())
            for name, network, number in (
                ("a1", ALPHA, 2), ("a2", ALPHA, 3), ("b1", BETA, 2), ("i1", INTERNAL, 2),
                ("i2", INTERNAL, 3), ("d1", APART, 2), ("d2", APART, 3),
            ):  # fmt: skip
                self.containers[name] = Container(network, number)
                endpoint.attach(self.containers[name].endpoint, self.containers[name].netns_fd)

    def _wire(self) -> None:
        router = self.router_host
        for host in self._hosts:
            # No waiting for addresses that are looked for elsewhere first.
            host.ok("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        wire(router, "198.51.100.1/24", self.client_host, f"{CLIENT}/24",
             "2001:db8:1::1/64", f"{CLIENT6}/64")  # fmt: skip
        wire(router, f"{ROUTER}/24", self.host, f"{HOST}/24", f"{ROUTER6}/64", f"{HOST6}/64")
        for host, via, via6 in (
            (self.client_host, "198.51.100.1", "2001:db8:1::1"),
            (self.host, ROUTER, ROUTER6),
        ):
            host.ok("ip", "route", "add", "default", "via", via)
            host.ok("ip", "route", "add", "default", "via", via6)
        for host in self._hosts:
            wait_for(lambda host=host: is_ready(host), "links have their own address")
        router.ok("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        self.host.ok("sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for container in self.containers.values():
            container.close()
        for fd in (self.client, self.router, self.netns_fd):
            os.close(fd)
        for host in self._hosts:
            host.close()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be the host."""
        with namespace.entered(self.netns_fd):
            yield

    def __getattr__(self, name: str) -> Container:
        """Containers by name."""
        try:
            return self.containers[name]
        except KeyError:
            raise AttributeError(name) from None

    @contextmanager
    def published(self, *ports) -> Iterator[None]:
        """Ports of the host for as long as the block lasts."""
        with self.entered():
            self.firewall.publish(ports)
        try:
            yield
        finally:
            with self.entered():
                self.firewall.withdraw(ports)

    def filter_bridged(self, *, on: bool) -> bool:
        """Have bridged packets filtered (br_netfilter), or not; whether this kernel can."""
        keys = [
            f"net.bridge.bridge-nf-call-{name}={int(on)}" for name in ("iptables", "ip6tables")
        ]
        return self.host.call("sysctl", "-qw", *keys).code == 0 or not on
