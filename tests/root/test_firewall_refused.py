"""What the firewall must not let through, tried for real; and that the same works when allowed."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from runengine.netns import namespace
from runengine.netns.ruleset import LOOPBACK_SOURCE
from runengine.netns.types import Published
from tests.support.capabilities import needs
from tests.support.site import BRIDGES, CLIENT, CLIENT6, HOST, HOST6, Site
from tests.support.traffic import (
    PATIENCE_S,
    SHORT_S,
    Server,
    ask,
    connect,
    finish,
    open_ways,
    reaches,
)

pytestmark = [pytest.mark.root, needs("nft", "ip")]

PROTOCOLS = ("tcp", "udp")
PORT = 8080


@pytest.fixture(scope="module", params=[False, True], ids=["routed", "bridged-filtered"])
def site(request, tmp_path_factory):
    with Site(tmp_path_factory.mktemp("site")) as site:
        if not site.filter_bridged(on=request.param):
            pytest.skip("no br_netfilter in this kernel")
        # A neighbour on the host's own link, who knows where the containers are.
        for network in ("10.81.0.0/24", "10.82.0.0/24", "10.83.0.0/24"):
            site.router_host.ok("ip", "route", "add", network, "via", HOST)
        for network in ("fd81::/64", "fd82::/64", "fd83::/64"):
            site.router_host.ok("ip", "route", "add", network, "via", HOST6)
        yield site


@pytest.fixture(params=PROTOCOLS)
def protocol(request):
    return request.param


def run_in(netns_fd: int, *command: str) -> None:
    """Run a program in a namespace."""
    with namespace.entered(netns_fd):
        subprocess.run(command, check=True)


def addresses(container):
    return [container.ip, container.ip6]


def test_ports_that_are_not_published(site, protocol):
    ways = [(site.client, address, 80) for address in (HOST, HOST6, *addresses(site.a1))]
    ways += [(site.router, address, 80) for address in addresses(site.a1)]
    with Server(site.a1.netns_fd, protocol, 80, "a1"):
        assert open_ways(*ways, protocol=protocol) == []


def test_published_ports_by_the_containers_own_address(site, protocol):
    ports = [
        Published(protocol, "127.0.0.1", PORT, site.a1.ip, 80),
        Published(protocol, "::1", PORT, site.a1.ip6, 80),
    ]
    with Server(site.a1.netns_fd, protocol, 80, "a1"), site.published(*ports):
        ways = [(site.router, address, 80) for address in addresses(site.a1)]
        assert open_ways(*ways, protocol=protocol) == []
        assert ask(site.netns_fd, "127.0.0.1", PORT, protocol=protocol).server == "a1"
        assert ask(site.netns_fd, "::1", PORT, protocol=protocol).server == "a1"


@pytest.mark.parametrize("address", [HOST, HOST6])
def test_withdrawn_ports(site, protocol, address):
    target = site.a1.ip6 if ":" in address else site.a1.ip
    port = Published(protocol, address, PORT, target, 80)
    with Server(site.a1.netns_fd, protocol, 80, "a1"):
        with site.published(port):
            assert ask(site.client, address, PORT, protocol=protocol).server == "a1"
        ways = [(who, address, PORT) for who in (site.client, site.netns_fd)]
        assert open_ways(*ways, protocol=protocol) == []


def test_other_networks_containers(site, protocol):
    ways = [
        (who.netns_fd, address, 80)
        for who, target in ((site.b1, site.a1), (site.i1, site.a1), (site.d1, site.a1),
                            (site.a1, site.i1))
        for address in addresses(target)
    ]  # fmt: skip
    with (
        Server(site.a1.netns_fd, protocol, 80, "a1"),
        Server(site.i1.netns_fd, protocol, 80, "i1"),
    ):
        assert open_ways(*ways, protocol=protocol) == []


def test_containers_that_may_not_talk(site, protocol):
    """An internal network's may, among themselves."""
    with Server(site.d1.netns_fd, protocol, 80, "d1"):
        ways = [(site.d2.netns_fd, address, 80) for address in addresses(site.d1)]
        assert open_ways(*ways, protocol=protocol) == []
    with Server(site.i1.netns_fd, protocol, 80, "i1"):
        for address in addresses(site.i1):
            assert ask(site.i2.netns_fd, address, 80, protocol=protocol).server == "i1"


def test_out_of_an_internal_network_and_into_it(site, protocol):
    """Even if a container gives itself a default route."""
    for via in ("10.83.0.1", "fd83::1"):
        run_in(site.i1.netns_fd, "ip", "route", "replace", "default", "via", via)
    port = Published(protocol, "0.0.0.0", PORT, site.a1.ip, 80)
    with Server(site.client, protocol, 80, "client"):
        ways = [(site.i1.netns_fd, address, 80) for address in (CLIENT, CLIENT6)]
        assert open_ways(*ways, protocol=protocol) == []
        for address in (CLIENT, CLIENT6):
            assert ask(site.a1.netns_fd, address, 80, protocol=protocol).server == "client"
    ways = [(site.i1.netns_fd, HOST, PORT)]
    ways += [(site.router, address, 80) for address in addresses(site.i1)]
    with (
        Server(site.a1.netns_fd, protocol, 80, "a1"),
        Server(site.i1.netns_fd, protocol, 80, "i1"),
        site.published(port),
    ):
        assert open_ways(*ways, protocol=protocol) == []


def test_ports_of_an_internal_network_are_the_hosts_alone(site, protocol):
    ports = [
        Published(protocol, "0.0.0.0", PORT, site.i1.ip, 80),
        Published(protocol, "::", PORT, site.i1.ip6, 80),
    ]
    with Server(site.i1.netns_fd, protocol, 80, "i1"), site.published(*ports):
        for address in (HOST, HOST6):
            assert ask(site.netns_fd, address, PORT, protocol=protocol).server == "i1"
        others = (site.client, site.a1.netns_fd)
        ways = [(who, address, PORT) for who in others for address in (HOST, HOST6)]
        assert open_ways(*ways, protocol=protocol) == []


def test_link_local_addresses_are_the_hosts_own(site):
    """They cannot be answered from another link, so what is published does not take them."""
    shown = site.host.ok("ip", "-o", "-6", "address", "show", "dev", "wire", "scope", "link")
    address = shown.split()[3].split("/")[0]
    port = Published("tcp", "::", PORT, site.a1.ip6, 80)
    with Server(site.netns_fd, "tcp", PORT, "host"), site.published(port):
        assert not reaches(site.a1.netns_fd, HOST6, PORT)  # nobody listens in the container
        with namespace.entered(site.router):
            sock = socket.socket(socket.AF_INET6)
            link = socket.if_nametoindex("wire1")
        with sock:
            sock.settimeout(PATIENCE_S)
            sock.connect((address, PORT, 0, link))
            assert finish(sock).server == "host"


def test_no_packet_leaves_with_a_containers_own_address(site):
    """A reset that belongs to no connection is not translated, so it must not pass."""
    reset = struct.pack("!HHIIBBHHH", 4321, 4321, 1, 1, 5 << 4, 4, 0, 0, 0)
    pseudo = socket.inet_aton(site.a1.ip) + socket.inet_aton(CLIENT) + struct.pack("!HH", 6, 20)
    total = sum(struct.unpack("!16H", pseudo + reset))
    total = (total & 0xFFFF) + (total >> 16)
    reset = reset[:16] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + reset[18:]
    with raw_tcp(site.client) as outside, raw_tcp(site.a1.netns_fd) as inside:
        outside.settimeout(SHORT_S)

        def senders() -> set[str]:
            inside.sendto(reset, (CLIENT, 0))
            found = set()
            with contextlib.suppress(TimeoutError):
                while True:
                    packet, peer = outside.recvfrom(2000)
                    found |= {peer[0]} if packet[20:24] == reset[:4] else set()
            return found

        assert senders() == set()
        site.host.ok("nft", "flush", "chain", "inet", site.firewall.table, "forward")
        try:
            assert senders() == {site.a1.ip}, "the test itself"
        finally:
            with site.entered():
                site.firewall.replay(BRIDGES, ())


def raw_tcp(netns_fd: int) -> socket.socket:
    with namespace.entered(netns_fd):
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)


def test_what_the_host_keeps_to_itself(site):
    """The host's 127.0.0.0/8, which ``route_localnet`` would open to containers."""
    target = "127.0.0.99"
    intruder = site.a1.netns_fd
    run_in(intruder, "sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1")
    run_in(intruder, "ip", "route", "del", "local", "127.0.0.0/8", "dev", "lo", "table", "local")
    run_in(intruder, "ip", "route", "add", target, "via", "10.81.0.1", "dev", "eth0")
    with Server(site.netns_fd, "tcp", 9000, "host"):
        assert ask(site.netns_fd, target, 9000).server == "host"
        assert not reaches(intruder, target, 9000)
        site.host.ok("nft", "flush", "chain", "inet", site.firewall.table, "guard")
        try:
            assert ask(intruder, target, 9000).server == "host", "the test itself"
        finally:
            with site.entered():
                site.firewall.replay(BRIDGES, ())


def test_the_address_that_stands_for_the_hosts_loopback(site):
    """A route leads there on the host, so a packet from outside would be taken."""
    with Server(site.netns_fd, "tcp", 9000, "host"):
        for who, via in ((site.a1.netns_fd, "fd81::1"), (site.router, HOST6)):
            run_in(who, "ip", "route", "replace", LOOPBACK_SOURCE, "via", via)
            assert not reaches(who, LOOPBACK_SOURCE, 9000)
        site.host.ok("nft", "flush", "chain", "inet", site.firewall.table, "guard")
        try:
            assert ask(site.router, LOOPBACK_SOURCE, 9000).server == "host", "the test itself"
        finally:
            with site.entered():
                site.firewall.replay(BRIDGES, ())


def test_open_connections_go_on_when_the_table_is_made_anew(site):
    port = Published("tcp", "0.0.0.0", PORT, site.a1.ip, 80)
    with (
        Server(site.a1.netns_fd, "tcp", 80, "a1"),
        site.published(port),
        connect(site.client, HOST, PORT) as sock,
        site.entered(),
    ):
        site.firewall.replay(BRIDGES, [port])
        assert finish(sock, b"x" * 100000).server == "a1"


def documented_rules() -> str:
    """The example in docs/firewall.md."""
    text = (Path(__file__).parents[2] / "docs" / "firewall.md").read_text(encoding="utf-8")
    return next(part for part in text.split("```") if "chain admin {" in part)


def test_the_operators_rules(site):
    """The documented example: two ports of the host for certain addresses only."""
    ports = [Published("tcp", "0.0.0.0", number, site.a1.ip, 80) for number in (5432, 8080)]
    rules = documented_rules()
    try:
        for office, served in (("198.51.100.0/24", True), ("192.0.2.0/24", False)):
            site.admin_file.write_text(rules.replace("198.51.100.0/24", office))
            with site.entered():
                site.firewall.replay(BRIDGES, ports)
            with Server(site.a1.netns_fd, "tcp", 80, "a1"):
                assert reaches(site.client, HOST, 5432) is served
                assert reaches(site.client, HOST, 8080)
    finally:
        site.admin_file.unlink()
        with site.entered():
            site.firewall.replay(BRIDGES, [])


class Talker:
    """One UDP socket that keeps its port, as a client does that asks again and again."""

    def __init__(self, netns_fd: int, address: str) -> None:
        self.sock = connect(netns_fd, address, PORT, protocol="udp", patience_s=SHORT_S)

    def hears(self) -> str:
        """The server that answers, or nothing."""
        try:
            return finish(self.sock).server
        except OSError:
            return ""


@pytest.mark.parametrize("address", [HOST, HOST6])
@pytest.mark.parametrize("count", [1, 20])
def test_datagrams_follow_what_is_published_now(site, address, count):
    """Also those of a sender who was there before, and who never pauses."""
    first, second = (
        Published("udp", "::" if ":" in address else "0.0.0.0", PORT,
                  one.ip6 if ":" in address else one.ip, PORT, count)
        for one in (site.a1, site.a2)
    )  # fmt: skip
    with (
        Server(site.a1.netns_fd, "udp", PORT, "a1"),
        Server(site.a2.netns_fd, "udp", PORT, "a2"),
        Server(site.netns_fd, "udp", PORT, "host"),
    ):
        talker = Talker(site.client, address)
        with talker.sock:
            assert talker.hears() == "host"
            with site.published(first):
                assert talker.hears() == "a1"
            with site.published(second):
                assert talker.hears() == "a2"
            assert talker.hears() == "host"
