"""Real traffic through published ports, from everywhere that must reach them."""

from __future__ import annotations

import contextlib
import hashlib
import os

import pytest

from runengine.netns.types import Published
from tests.support.capabilities import needs
from tests.support.site import CLIENT, CLIENT6, HOST, HOST6, Site
from tests.support.traffic import Server, ask, connect, finish, reaches

pytestmark = [pytest.mark.root, needs("nft", "ip")]

PROTOCOLS = ("tcp", "udp")
PORT = 8080


@pytest.fixture(scope="module", params=[False, True], ids=["routed", "bridged-filtered"])
def site(request, tmp_path_factory):
    """Where bridged packets are filtered (br_netfilter) they take other ways in the kernel."""
    with Site(tmp_path_factory.mktemp("site")) as site:
        if not site.filter_bridged(on=request.param):
            pytest.skip("no br_netfilter in this kernel")
        yield site


@pytest.fixture(params=PROTOCOLS)
def protocol(request):
    return request.param


@pytest.fixture
def everywhere(site, protocol):
    """a1's port 80 on every address of the host."""
    ports = [
        Published(protocol, "0.0.0.0", PORT, site.a1.ip, 80),
        Published(protocol, "::", PORT, site.a1.ip6, 80),
    ]
    with Server(site.a1.netns_fd, protocol, 80, "a1"), site.published(*ports):
        yield


@pytest.mark.parametrize(("address", "source"), [(HOST, CLIENT), (HOST6, CLIENT6)])
def test_from_outside_with_its_own_source_address(site, protocol, everywhere, address, source):
    answer = ask(site.client, address, PORT, protocol=protocol)
    assert (answer.server, answer.peer) == ("a1", source)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.8.9.10", "::1", HOST, HOST6, "10.81.0.1", "fd81::1", "10.82.0.1"]
)
def test_from_the_host_by_each_of_its_addresses(site, protocol, everywhere, address):
    assert ask(site.netns_fd, address, PORT, protocol=protocol).server == "a1"


@pytest.mark.parametrize("address", [HOST, HOST6])
@pytest.mark.parametrize("who", ["a2", "b1", "d1"])
def test_from_containers_of_the_same_and_of_other_networks(
    site, protocol, everywhere, who, address
):
    asking = getattr(site, who)
    assert ask(asking.netns_fd, address, PORT, protocol=protocol).server == "a1"


@pytest.mark.parametrize("address", [HOST, HOST6, "10.81.0.1", "fd81::1"])
def test_from_the_container_itself(site, protocol, everywhere, address):
    assert ask(site.a1.netns_fd, address, PORT, protocol=protocol).server == "a1"


@pytest.mark.parametrize(
    ("host_ip", "hears", "deaf"),
    [
        (HOST, [HOST], ["127.0.0.1", "10.81.0.1"]),
        ("127.0.0.1", ["127.0.0.1"], [HOST, "127.0.0.2"]),
        (HOST6, [HOST6], ["::1", "fd81::1"]),
        ("::1", ["::1"], [HOST6, "fd81::1"]),
    ],
)
def test_one_address_of_the_host(site, protocol, host_ip, hears, deaf):
    target = site.a1.ip6 if ":" in host_ip else site.a1.ip
    port = Published(protocol, host_ip, PORT, target, 80)
    with Server(site.a1.netns_fd, protocol, 80, "a1"), site.published(port):
        for address in hears:
            assert ask(site.netns_fd, address, PORT, protocol=protocol).server == "a1"
        for address in deaf:
            assert not reaches(site.netns_fd, address, PORT, protocol=protocol)


@pytest.mark.parametrize(("host_ip", "address"), [("0.0.0.0", HOST), ("::", HOST6), ("::", "::1")])
def test_a_row_of_ports_that_keep_their_numbers(site, protocol, host_ip, address):
    target = site.a1.ip6 if ":" in host_ip else site.a1.ip
    row = Published(protocol, host_ip, 5000, target, 5000, 3000)
    with site.published(row):
        for port in (5000, 6234, 7999):
            with Server(site.a1.netns_fd, protocol, port, f"a1-{port}"):
                answer = ask(site.netns_fd, address, port, protocol=protocol)
                assert answer.server == f"a1-{port}"
        with Server(site.a1.netns_fd, protocol, 8000, "beyond"):
            assert not reaches(site.netns_fd, address, 8000, protocol=protocol)


def test_a_row_of_ports_that_change_their_numbers(site, protocol):
    row = Published(protocol, "0.0.0.0", 5000, site.a1.ip, 6000, 5)
    with site.published(row), Server(site.a1.netns_fd, protocol, 6004, "a1"):
        assert ask(site.client, HOST, 5004, protocol=protocol).server == "a1"
        assert not reaches(site.client, HOST, 5005, protocol=protocol)


@pytest.mark.parametrize(
    ("who", "address"),
    [("client", HOST), ("client", HOST6), ("netns_fd", "127.0.0.1"), ("netns_fd", "::1")],
)
def test_large_transfers(site, who, address):
    data = os.urandom(1 << 20) * 64
    port = Published("tcp", "::" if ":" in address else "0.0.0.0", PORT,
                     site.a1.ip6 if ":" in address else site.a1.ip, 80)  # fmt: skip
    with Server(site.a1.netns_fd, "tcp", 80), site.published(port):
        answer = ask(getattr(site, who), address, PORT, data)
    assert answer.digest == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("address", [HOST, HOST6])
def test_a_thousand_connections_at_once(site, address):
    port = Published("tcp", "::" if ":" in address else "0.0.0.0", PORT,
                     site.a1.ip6 if ":" in address else site.a1.ip, 80)  # fmt: skip
    with (
        Server(site.a1.netns_fd, "tcp", 80, "a1"),
        site.published(port),
        contextlib.ExitStack() as stack,
    ):
        socks = [stack.enter_context(connect(site.client, address, PORT)) for _ in range(1000)]
        assert {finish(sock).server for sock in socks} == {"a1"}


@pytest.mark.parametrize(
    ("address", "source"), [(CLIENT, HOST), (CLIENT6, HOST6)], ids=["IPv4", "IPv6"]
)
@pytest.mark.parametrize("who", ["a1", "b1", "d1"])
def test_containers_reach_the_world_as_the_host(site, protocol, who, address, source):
    with Server(site.client, protocol, 80, "client"):
        answer = ask(getattr(site, who).netns_fd, address, 80, protocol=protocol)
    assert (answer.server, answer.peer) == ("client", source)


def test_containers_of_a_network_talk_as_themselves(site, protocol):
    with Server(site.a1.netns_fd, protocol, 80, "a1"):
        assert ask(site.a2.netns_fd, site.a1.ip, 80, protocol=protocol).peer == site.a2.ip
        assert ask(site.a2.netns_fd, site.a1.ip6, 80, protocol=protocol).peer == site.a2.ip6


def test_host_and_containers_reach_each_other(site, protocol):
    with (
        Server(site.netns_fd, protocol, 7000, "host"),
        Server(site.i1.netns_fd, protocol, 80, "i1"),
    ):
        assert ask(site.a1.netns_fd, "10.81.0.1", 7000, protocol=protocol).peer == site.a1.ip
        assert ask(site.netns_fd, site.i1.ip, 80, protocol=protocol).server == "i1"
        assert ask(site.netns_fd, site.i1.ip6, 80, protocol=protocol).server == "i1"


def test_forwarding_was_switched_on_and_said(site):
    assert site.notices.count("net.ipv4.ip_forward=1") == 1
    assert site.notices.count("net.ipv6.conf.all.forwarding=1") == 1
