"""Tracked connections are forgotten with their port, and no others are."""

from __future__ import annotations

import errno

import pytest

from runengine.linux import netlink
from runengine.linux.netlink import NetlinkError
from runengine.netns import conntrack
from runengine.netns.types import Published
from tests.support.capabilities import needs
from tests.support.site import CLIENT, CLIENT6, HOST, HOST6, Site
from tests.support.traffic import Server, ask

pytestmark = [pytest.mark.root, needs("nft", "ip")]

PORT, OTHER_PORT = 8080, 9090


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(params=["this kernel", "a kernel that takes a filter for a mistake"])
def _kernel(request, monkeypatch):
    if request.param == "this kernel":
        return
    real = netlink.send

    def send(family, messages):
        filtered = conntrack._FILTER | 0x8000
        if filtered.to_bytes(2, "little") in messages[0].body[4:] and messages[0].type & 0xFF == 2:
            raise NetlinkError(errno.EINVAL)
        real(family, messages)

    monkeypatch.setattr(netlink, "send", send)


def tracked(site, address):
    """Where tracked datagrams of the client's family go, and who answers them."""
    family = 6 if ":" in address else 4
    with site.entered():
        found = conntrack.listed(conntrack.Filter(family, "udp"))
    return {(entry.destination, entry.port, entry.answering) for entry in found}


@pytest.mark.usefixtures("_kernel")
@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize(
    ("host_ip", "address"),
    [("0.0.0.0", HOST), (HOST, HOST), ("::", HOST6), (HOST6, HOST6)],
)
def test_a_withdrawn_port_takes_its_own_connections_along(site, host_ip, address, count):
    is_v6 = ":" in address
    a1, b1 = ((one.ip6 if is_v6 else one.ip) for one in (site.a1, site.b1))
    world = CLIENT6 if is_v6 else CLIENT
    mine = Published("udp", host_ip, PORT, a1, PORT, count)
    others = Published("udp", host_ip, OTHER_PORT, b1, OTHER_PORT, count)
    with (
        Server(site.a1.netns_fd, "udp", PORT),
        Server(site.b1.netns_fd, "udp", OTHER_PORT),
        Server(site.client, "udp", PORT),
        site.published(others),
    ):
        with site.published(mine):
            for port in (PORT, OTHER_PORT):
                ask(site.client, address, port, protocol="udp")
            ask(site.b1.netns_fd, world, PORT, protocol="udp")
            lasting = {(address, OTHER_PORT, b1), (world, PORT, world)}
            assert tracked(site, address) >= {*lasting, (address, PORT, a1)}
        assert (address, PORT, a1) not in tracked(site, address)
        assert tracked(site, address) >= lasting


@pytest.mark.usefixtures("_kernel")
@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize(
    ("host_ip", "address"),
    [("0.0.0.0", HOST), (HOST, HOST), ("::", HOST6), (HOST6, HOST6)],
)
def test_a_published_port_forgets_what_went_to_the_host(site, host_ip, address, count):
    """What containers ask of the same port elsewhere in the world goes on."""
    is_v6 = ":" in address
    a1, world = (site.a1.ip6, CLIENT6) if is_v6 else (site.a1.ip, CLIENT)
    with (
        Server(site.netns_fd, "udp", PORT),
        Server(site.netns_fd, "udp", OTHER_PORT),
        Server(site.client, "udp", PORT),
    ):
        for port in (PORT, OTHER_PORT):
            ask(site.client, address, port, protocol="udp")
        ask(site.b1.netns_fd, world, PORT, protocol="udp")
        lasting = {(address, OTHER_PORT, address), (world, PORT, world)}
        assert tracked(site, address) >= {*lasting, (address, PORT, address)}
        with site.published(Published("udp", host_ip, PORT, a1, PORT, count)):
            assert (address, PORT, address) not in tracked(site, address)
            assert tracked(site, address) >= lasting
