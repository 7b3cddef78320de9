"""Interfaces of containers on a bridge: whole or absent, moved, detached and left behind."""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import TYPE_CHECKING

import pytest

from runengine.errors import AlreadyExists, EngineError, InvalidParameter, NotFound, Unsupported
from runengine.netns import bridge, endpoint, links, namespace, sysctls
from runengine.netns.types import Bridge
from tests.support import nethosts
from tests.support.capabilities import needs
from tests.support.nethosts import GATEWAYS, ip, on_bridge

if TYPE_CHECKING:
    from tests.support.nethosts import Guest

pytestmark = [pytest.mark.root, needs("ip", "bridge")]

IPV4_ONLY = {"addresses": ("10.9.0.2/24",), "gateways": ("10.9.0.1",)}


@pytest.fixture
def host():
    with nethosts.bridged_host() as opened:
        yield opened


def routes(guest: Guest) -> set[str]:
    """Default routes of both families: the words from gateway to device."""
    lines = (guest.ip("route") + guest.ip("-6", "route")).splitlines()
    return {" ".join(line.split()[2:5]) for line in lines if line.startswith("default")}


def setting(guest: Guest, name: str) -> str:
    def read() -> str:
        with open(f"/proc/sys/net/{name}") as file:
            return file.read().strip()

    return guest.call(read)


def test_it_has_all_it_shall_have(host):
    wanted = {"mac": "02:42:0a:09:00:02", "mtu": 1400}
    guest = host.guest(2, **wanted)
    shown = guest.ip("-d", "addr", "show", "eth0")
    for text in ("10.9.0.2/24 brd 10.9.0.255", "fd00:9::2/64", "mtu 1400", wanted["mac"], ",UP"):
        assert text in shown
    assert "tentative" not in shown
    assert routes(guest) == {"10.9.0.1 dev eth0", "fd00:9::1 dev eth0"}
    assert setting(guest, "ipv6/conf/eth0/accept_ra") == "0"


def test_the_host_sees_a_port_that_forwards(host):
    guest = host.guest(2)
    shown = ip("-d", "link", "show", guest.endpoint.host_name)
    for text in ("master brt0", "state forwarding", "hairpin on", "isolated off"):
        assert text in shown
    assert "inet" not in ip("addr", "show", guest.endpoint.host_name)


def test_addresses_have_their_routes_at_once(host):
    """A moment later is too late: the answer to the first packet would be lost."""
    for number in range(2, 22):
        guest = host.guest(number)
        assert f"local fd00:9::{number} " in guest.ip("-6", "route", "show", "table", "local")


def test_without_an_mtu_it_has_the_bridges(host):
    bridge.ensure(nethosts.BRIDGE._replace(mtu=1380))
    guest = host.guest(2)
    assert guest.call(lambda: links.mtu_of("eth0")) == 1380
    assert links.mtu_of(guest.endpoint.host_name) == 1380


def test_without_an_ipv6_address_it_has_no_ipv6(host):
    guest = host.guest(2, **IPV4_ONLY)
    assert setting(guest, "ipv6/conf/eth0/disable_ipv6") == "1"
    assert "inet6" not in guest.ip("addr", "show", "eth0")


def test_it_may_have_ipv6_only(host):
    guest = host.guest(2, addresses=("fd00:9::2/64",), gateways=("fd00:9::1",))
    assert routes(guest) == {"fd00:9::1 dev eth0"}
    assert "inet " not in guest.ip("addr", "show", "eth0")


def test_on_a_kernel_without_ipv6(host, monkeypatch):
    monkeypatch.setattr(sysctls, "has_ipv6", lambda: False)
    with pytest.raises(Unsupported, match="eth0 cannot have an IPv6 address"):
        host.guest(2)
    assert "10.9.0.2/24" in host.guest(2, **IPV4_ONLY).ip("addr", "show", "eth0")


def test_settings_of_the_user_come_last(host):
    wanted = (
        ("net.ipv4.conf.IFNAME.log_martians", "1"),
        ("net.ipv6.conf.IFNAME.accept_ra", "2"),
    )
    guest = host.guest(2, name="lan.1", sysctls=wanted)
    assert setting(guest, "ipv4/conf/lan.1/log_martians") == "1"
    assert setting(guest, "ipv6/conf/lan.1/accept_ra") == "2"


@pytest.mark.parametrize("gateway", ["10.77.0.1", "fd00:77::1", "fe80::1"])
def test_a_gateway_outside_of_the_subnet_is_on_the_link(host, gateway):
    assert routes(host.guest(2, gateways=(gateway,))) == {f"{gateway} dev eth0"}


def test_a_namespace_can_have_several(host):
    bridge.ensure(Bridge("brt1", ("10.8.0.1/24", "fd00:8::1/64")))
    guest = host.guest(2)
    second = on_bridge(
        2,
        device="brt1",
        name="eth1",
        addresses=("10.8.0.2/24", "fd00:8::2/64"),
        gateways=(),
    )
    endpoint.attach(second, guest.fd)
    assert routes(guest) == {"10.9.0.1 dev eth0", "fd00:9::1 dev eth0"}

    endpoint.set_default_routes(guest.fd, second._replace(gateways=("10.8.0.1",)))
    assert routes(guest) == {"10.8.0.1 dev eth1", "fd00:9::1 dev eth0"}

    endpoint.set_default_routes(guest.fd, second._replace(gateways=("10.8.0.1", "fd00:8::1")))
    assert routes(guest) == {"10.8.0.1 dev eth1", "fd00:8::1 dev eth1"}

    endpoint.detach(second, guest.fd)
    endpoint.set_default_routes(guest.fd, guest.endpoint)
    assert routes(guest) == {"10.9.0.1 dev eth0", "fd00:9::1 dev eth0"}


def test_default_routes_need_their_interface(host):
    guest = host.guest(2)
    with pytest.raises(NotFound, match="interface eth5 to brt0"):
        endpoint.set_default_routes(guest.fd, guest.endpoint._replace(name="eth5"))
    assert routes(guest) == {"10.9.0.1 dev eth0", "fd00:9::1 dev eth0"}


FAULTS = {
    "no bridge": ({"device": "nobridge0"}, NotFound, "no bridge nobridge0"),
    "name": ({"name": "sixteen-bytes-xx"}, InvalidParameter, "longer than 15 bytes"),
    "host name": ({"host_name": "sixteen-bytes-xx"}, InvalidParameter, "longer than 15 bytes"),
    "address": ({"addresses": ("10.9.0.300/24",)}, InvalidParameter, "invalid address"),
    "gateway": ({"gateways": ("10.9.0",)}, InvalidParameter, "invalid gateway"),
    "two gateways": ({"gateways": ("10.9.0.1", "10.9.0.3")}, InvalidParameter, "more than one"),
    "mtu": ({"mtu": 20}, InvalidParameter, "eth0 to brt0"),
    "mac": ({"mac": "01:00:5e:00:00:01"}, InvalidParameter, "01:00:5e:00:00:01"),
    "driver": ({"driver": "overlay"}, InvalidParameter, "unknown network driver 'overlay'"),
    "same address twice": ({"addresses": ("10.9.0.2/24",) * 2}, EngineError, "eth0"),
    "setting": (
        {"sysctls": (("net.ipv4.conf.IFNAME.nonsense", "1"),)},
        NotFound,
        "net.ipv4.conf.IFNAME.nonsense",
    ),
    "value": (
        {"sysctls": (("net.ipv4.conf.IFNAME.log_martians", "much"),)},
        InvalidParameter,
        "log_martians=much",
    ),
    "foreign setting": (
        {"sysctls": (("net.ipv4.ip_forward", "1"),)},
        InvalidParameter,
        "net.ipv4.ip_forward",
    ),
    "gateway of no family": (
        {"addresses": ("10.9.0.2/24",), "gateways": ("fd00:9::1",)},
        EngineError,
        "eth0 to brt0",
    ),
}


@pytest.mark.parametrize(("changes", "kind", "text"), FAULTS.values(), ids=FAULTS)
def test_what_fails_leaves_nothing(host, changes, kind, text):
    before = nethosts.names_of_links()
    netns_fd = host.namespace()
    with pytest.raises(kind) as caught:
        endpoint.attach(on_bridge(2, **changes), netns_fd)
    assert text in str(caught.value)
    assert namespace.call(netns_fd, nethosts.names_of_links) == {"lo"}
    assert nethosts.names_of_links() == before


def test_what_is_there_stays_as_it_is(host):
    guest = host.guest(2)
    before = guest.ip("addr", "show", "eth0")
    with pytest.raises(AlreadyExists, match="interface eth0"):
        endpoint.attach(on_bridge(3), guest.fd)
    with pytest.raises(AlreadyExists, match=guest.endpoint.host_name):
        endpoint.attach(guest.endpoint._replace(name="eth1"), guest.fd)
    assert guest.ip("addr", "show", "eth0") == before
    assert guest.call(nethosts.names_of_links) == {"lo", "eth0"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interruption_leaves_nothing_or_all(host):
    """But a socket that was being assigned, which the interpreter closes and warns of."""
    before = nethosts.names_of_links()
    whole = {"10.9.0.1 dev eth0", "fd00:9::1 dev eth0"}
    for step in range(40):
        guest = nethosts.Guest(host.namespace(), on_bridge(2))
        attach = partial(endpoint.attach, guest.endpoint, guest.fd)
        nethosts.interrupted(attach, 0.0001 * (step + 1))
        if guest.endpoint.host_name in nethosts.names_of_links():
            assert routes(guest) == whole
        else:
            assert guest.call(nethosts.names_of_links) == {"lo"}
        endpoint.delete_host_end(guest.endpoint.host_name)
    assert nethosts.names_of_links() == before


def test_detaching_is_idempotent_and_leaves_the_rest(host):
    guest = host.guest(2)
    other = on_bridge(3, name="eth1", gateways=())
    endpoint.attach(other, guest.fd)
    for _ in range(2):
        endpoint.detach(guest.endpoint, guest.fd)
        assert guest.call(nethosts.names_of_links) == {"lo", "eth1"}
        assert guest.endpoint.host_name not in nethosts.names_of_links()
    assert "10.9.0.3/24" in guest.ip("addr", "show", "eth1")


class TestHostEnd:
    def test_of_a_namespace_that_is_gone(self, host):
        guest = host.guest(2)
        os.close(guest.fd)
        for _ in range(2):
            endpoint.delete_host_end(guest.endpoint.host_name)
            assert guest.endpoint.host_name not in ip("link", "show", "master", "brt0")
        nethosts.wait_until_gone(guest.endpoint.host_name)

    def test_of_a_namespace_that_others_hold(self, host):
        """As with --network container:X: the interface goes from there, too."""
        guest = host.guest(2)
        endpoint.delete_host_end(guest.endpoint.host_name)
        assert guest.endpoint.host_name not in nethosts.names_of_links()
        assert guest.call(nethosts.names_of_links) == {"lo"}

    def test_that_never_was(self, host):
        endpoint.delete_host_end("ve0123456789ab")

    def test_whose_name_can_be_none(self, host):
        with pytest.raises(InvalidParameter, match="interface name"):
            endpoint.delete_host_end("")


def test_an_address_can_be_used_again_at_once(host):
    """The old namespace is still on its way out, and must not answer any more."""
    for _ in range(10):
        guest = host.guest(2)
        with guest.serve("10.9.0.2"), guest.serve("fd00:9::2"):
            for address in guest.addresses:
                socket.create_connection((address, 80), nethosts.PATIENCE_S).close()
        os.close(guest.fd)
        endpoint.delete_host_end(guest.endpoint.host_name)


def test_gateways_answer(host):
    guest = host.guest(2)
    for address in GATEWAYS:
        with nethosts.listener(address, 80):
            guest.connect(address)
