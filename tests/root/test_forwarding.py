"""The host's forwarding: only what is needed, told, and no default route lost over it."""

from __future__ import annotations

import socket
import struct

import pytest

from runengine.errors import EngineError
from runengine.netns import bridge, forwarding, namespace
from runengine.netns.ruleset import LOOPBACK_SOURCE
from runengine.netns.types import Bridge
from tests.support.capabilities import needs
from tests.support.hosts import Host, wire
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, needs("ip")]

V4, V6 = Bridge("br-four", ("10.81.0.1/24",)), Bridge("br-six", ("fd81::1/64",))


@pytest.fixture
def host(tmp_path):
    """A host that forwards nothing yet, and the test's process on it."""
    with Host(tmp_path / "host") as host, open(namespace.of_process(host.pid), "rb") as netns:
        host.ok("sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0",
                "net.ipv6.conf.default.accept_ra=1")  # fmt: skip
        with namespace.entered(netns.fileno()):
            yield host


def setting(host: Host, key: str) -> str:
    return host.ok("sysctl", "-n", key)


def test_ipv4(host):
    bridge.ensure(V4)
    assert forwarding.enable(V4) == ["net.ipv4.ip_forward=1"]
    assert forwarding.enable(V4) == []
    assert setting(host, "net.ipv4.ip_forward") == "1"
    assert setting(host, "net.ipv4.conf.br-four.route_localnet") == "1"
    assert setting(host, "net.ipv4.conf.lo.route_localnet") == "0"
    assert setting(host, "net.ipv6.conf.all.forwarding") == "0"


def test_internal_networks_need_nothing_of_the_host(host):
    for network in (V4, V6):
        bridge.ensure(network)
        assert forwarding.enable(network._replace(internal=True)) == []
    assert setting(host, "net.ipv4.ip_forward") == setting(host, "net.ipv6.conf.all.forwarding")
    assert setting(host, "net.ipv4.ip_forward") == "0"


def test_each_bridge_has_the_route_back_to_the_loopback(host):
    other = V6._replace(device="br-more", addresses=("fd82::1/64",))
    for network in (V6, other):
        bridge.ensure(network)
        for _ in range(2):
            forwarding.enable(network)

    def devices():
        lines = host.ok("ip", "-6", "route", "show", "table", "local").splitlines()
        return {line.split()[3] for line in lines if LOOPBACK_SOURCE in line}

    assert devices() == {"br-six", "br-more"}
    bridge.remove("br-six")
    assert devices() == {"br-more"}


def advertise(router: Host) -> None:
    """A router advertisement (RFC 4861) to all nodes, for a default route of half an hour."""
    with open(namespace.of_process(router.pid), "rb") as netns, namespace.entered(netns.fileno()):
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        with sock:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            index = socket.if_nametoindex("wire")
            message = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
            sock.sendto(message, ("ff02::1", 0, 0, index))


def test_a_default_route_from_a_router_stays(host, tmp_path):
    with Host(tmp_path / "router") as router:
        wire(host, "203.0.113.5/24", router, "203.0.113.1/24")
        host.ok("sysctl", "-qw", "net.ipv6.conf.wire0.accept_ra=1")

        def learned() -> bool:
            return "proto ra" in host.ok("ip", "-6", "route", "show", "default")

        def learn() -> bool:
            advertise(router)
            return learned()

        def can_send() -> bool:
            return "tentative" not in router.ok("ip", "-6", "address", "show", "dev", "wire")

        wait_for(can_send, "the router's end has its address")
        wait_for(learn, "there is a route")
        bridge.ensure(V6)
        assert forwarding.enable(V6) == [
            "net.ipv6.conf.wire0.accept_ra=2",
            "net.ipv6.conf.all.forwarding=1",
        ]
        assert learned()
        host.ok("ip", "-6", "route", "flush", "default")
        wait_for(learn, "there is a route again")
        assert setting(host, "net.ipv6.conf.br-six.accept_ra") == "0"


def test_a_bridge_that_is_gone(host):
    with pytest.raises(EngineError, match="cannot forward for bridge br-six"):
        forwarding.enable(V6)
