"""Macvlan, ipvlan and their parents; where this kernel lacks a driver, that it is said."""

from __future__ import annotations

import os

import pytest

from runengine.errors import AlreadyExists, InvalidParameter, NotFound, Unsupported
from runengine.netns import capabilities, endpoint, links, namespace, parents
from runengine.netns.types import Endpoint
from tests.support import nethosts
from tests.support.capabilities import needs
from tests.support.nethosts import Guest, ip

pytestmark = [pytest.mark.root, needs("ip")]

OUTSIDE = ("10.7.0.1", "fd00:7::1")


@pytest.fixture
def host():
    """Its uplink leads to another namespace, which has the OUTSIDE's addresses."""
    with nethosts.own_host() as opened:
        opened.outside = opened.namespace()
        ip("link", "add", "uplink0", "type", "veth", "peer", "name", "far0")
        ip("link", "set", "far0", "netns", f"/proc/{os.getpid()}/fd/{opened.outside}")
        ip("link", "set", "uplink0", "up")

        def set_up() -> None:
            ip("link", "set", "far0", "up")
            ip("addr", "add", "10.7.0.1/24", "dev", "far0")
            ip("addr", "add", "fd00:7::1/64", "dev", "far0", "nodad")

        namespace.call(opened.outside, set_up)
        yield opened


def wanted(driver: str, number: int = 2, **changes: object) -> Endpoint:
    fields = {
        "driver": driver,
        "device": "uplink0",
        "name": "eth0",
        "addresses": (f"10.7.0.{number}/24", f"fd00:7::{number}/64"),
        "gateways": OUTSIDE,
    }
    return Endpoint(**{**fields, **changes})  # type: ignore[arg-type]


def attached(host, driver: str, number: int = 2, **changes: object) -> Guest:
    description = wanted(driver, number, **changes)
    guest = Guest(host.namespace(), description)
    endpoint.attach(description, guest.fd)
    return guest


def must_have(driver: str) -> None:
    if not capabilities.driver_available(driver):
        pytest.skip(f"no driver {driver} in this kernel")


def must_lack(driver: str) -> None:
    if capabilities.driver_available(driver):
        pytest.skip(f"this kernel has the driver {driver}")


def test_known_and_unknown_drivers():
    assert capabilities.driver_available("veth")
    assert capabilities.driver_available("bridge")
    assert not capabilities.driver_available("nonsense")


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
def test_containers_reach_the_outside_and_each_other(host, driver, family):
    must_have(driver)
    one, other = attached(host, driver, 2), attached(host, driver, 3)
    outside = namespace.call(host.outside, lambda: nethosts.listener(OUTSIDE[family], 80))
    with outside, other.serve(other.addresses[family]):
        one.connect(OUTSIDE[family])
        one.connect(other.addresses[family])


@pytest.mark.parametrize("mode", ["", "bridge", "private", "vepa"])
def test_modes_of_macvlan(host, mode):
    must_have("macvlan")
    guest = attached(host, "macvlan", mode=mode, mac="02:42:0a:07:00:02", mtu=1400)
    shown = guest.ip("-d", "addr", "show", "eth0")
    for text in (f"mode {mode or 'bridge'}", "02:42:0a:07:00:02", "mtu 1400", "fd00:7::2/64"):
        assert text in shown


@pytest.mark.parametrize("mode", ["", "l2", "l3", "l3s"])
def test_modes_of_ipvlan(host, mode):
    must_have("ipvlan")
    guest = attached(host, "ipvlan", mode=mode)
    assert f"mode {mode or 'l2'}" in guest.ip("-d", "link", "show", "eth0")


def test_ipvlan_of_layer_3_needs_no_gateway(host):
    must_have("ipvlan")
    guest = attached(host, "ipvlan", mode="l3", gateways=())
    assert "default dev eth0" in guest.ip("route")
    assert "default dev eth0" in guest.ip("-6", "route")


FAULTS = {
    "mode": ({"mode": "bridged"}, InvalidParameter, "unknown macvlan mode 'bridged'"),
    "parent": ({"device": "nothing0"}, NotFound, "no link nothing0"),
    "mac": ({"mac": "01:00:5e:00:00:01"}, InvalidParameter, "01:00:5e:00:00:01"),
    "setting": ({"sysctls": (("net.ipv4.conf.IFNAME.x", "1"),)}, NotFound, "IFNAME.x"),
}


@pytest.mark.parametrize(("changes", "kind", "text"), FAULTS.values(), ids=FAULTS)
def test_what_fails_leaves_nothing(host, changes, kind, text):
    must_have("macvlan")
    netns_fd = host.namespace()
    with pytest.raises(kind) as caught:
        endpoint.attach(wanted("macvlan", **changes), netns_fd)
    assert text in str(caught.value)
    assert namespace.call(netns_fd, nethosts.names_of_links) == {"lo"}


def test_what_is_there_stays(host):
    must_have("macvlan")
    guest = attached(host, "macvlan")
    with pytest.raises(AlreadyExists, match="eth0 to uplink0"):
        endpoint.attach(wanted("macvlan", 3), guest.fd)
    assert "10.7.0.2/24" in guest.ip("addr", "show", "eth0")


def test_detaching_is_idempotent(host):
    must_have("macvlan")
    guest = attached(host, "macvlan")
    for _ in range(2):
        endpoint.detach(guest.endpoint, guest.fd)
        assert guest.call(nethosts.names_of_links) == {"lo"}


def test_ipvlan_has_no_mac_address_of_its_own(host):
    with pytest.raises(InvalidParameter, match="ipvlan uses that of uplink0"):
        endpoint.attach(wanted("ipvlan", mac="02:42:0a:07:00:02"), host.namespace())


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
def test_a_kernel_without_the_driver(host, driver):
    must_lack(driver)
    netns_fd = host.namespace()
    with pytest.raises(Unsupported, match=f"modprobe {driver}"):
        endpoint.attach(wanted(driver), netns_fd)
    assert namespace.call(netns_fd, nethosts.names_of_links) == {"lo"}


class TestParents:
    def test_a_vlan_is_made_and_removed(self, host):
        must_have("vlan")
        index = parents.ensure("uplink0.10")
        assert parents.ensure("uplink0.10") == index
        shown = ip("-d", "link", "show", "uplink0.10")
        assert "vlan protocol 802.1Q id 10" in shown
        assert ",UP" in shown
        for _ in range(2):
            parents.remove("uplink0.10")
            assert links.index_of("uplink0.10") is None

    def test_an_internal_one_leads_nowhere(self, host):
        must_have("dummy")
        parents.ensure("dm-0123456789ab")
        assert "dummy" in ip("-d", "link", "show", "dm-0123456789ab")
        parents.remove("dm-0123456789ab")
        assert links.index_of("dm-0123456789ab") is None

    def test_one_of_the_hosts_stays(self, host):
        index = links.index_of("uplink0")
        assert parents.ensure("uplink0") == index
        parents.remove("uplink0")
        assert links.index_of("uplink0") == index

    @pytest.mark.parametrize("number", ["0", "4095", "99999"])
    def test_a_vlan_that_cannot_be(self, host, number):
        with pytest.raises(InvalidParameter, match="from 1 to 4094"):
            parents.ensure(f"uplink0.{number}")

    @pytest.mark.parametrize("device", ["nothing0.10", "uplink0.x", "uplink0.", ".10", "other0"])
    def test_a_link_that_nothing_tells_how_to_make(self, host, device):
        with pytest.raises(NotFound, match="no link"):
            parents.ensure(device)

    @pytest.mark.parametrize(("device", "module"), [("uplink0.10", "8021q"), ("dm-0", "dummy")])
    def test_a_kernel_without_the_driver(self, host, device, module):
        must_lack({"8021q": "vlan"}.get(module, module))
        with pytest.raises(Unsupported, match=f"modprobe {module}"):
            parents.ensure(device)
        assert links.index_of(device) is None
