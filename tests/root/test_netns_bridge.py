"""Bridges of the host: made, repaired, adopted, refused and removed."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from runengine.errors import Conflict, InvalidParameter, Unsupported
from runengine.netns import bridge, links, namespace, sysctls
from runengine.netns.types import Bridge
from tests.support import nethosts
from tests.support.capabilities import needs
from tests.support.nethosts import BRIDGE, ip

pytestmark = [pytest.mark.root, needs("ip")]

_RTMGRP_LINK_AND_ADDRESSES = 0x1 | 0x10 | 0x100


@pytest.fixture
def host():
    with nethosts.own_host() as opened:
        yield opened


def mac() -> str:
    return links.mac_of(BRIDGE.device)


def addresses(device: str = BRIDGE.device) -> set[str]:
    words = ip("-o", "addr", "show", device).split()
    return {words[at + 1] for at, word in enumerate(words) if word in ("inet", "inet6")}


@pytest.mark.usefixtures("host")
class TestMade:
    def test_it_has_all_it_shall_have(self):
        bridge.ensure(BRIDGE._replace(mtu=1400))
        shown = ip("-d", "link", "show", BRIDGE.device)
        assert "mtu 1400" in shown
        assert "alias runengine" in shown
        assert ",UP" in shown
        assert set(BRIDGE.addresses) <= addresses()
        assert mac() == "02:42:0a:09:00:01"
        assert sysctls.get_ipv6(BRIDGE.device, "accept_ra") == "0"

    @pytest.mark.parametrize("address", ["10.9.0.1", "fd00:9::1"])
    def test_its_addresses_can_be_listened_on_at_once(self, address):
        """Without any port it has no carrier, and IPv6 would look for duplicates for ever."""
        bridge.ensure(BRIDGE)
        nethosts.listener(address, 53).close()

    def test_without_ipv6_it_has_none_at_all(self):
        bridge.ensure(Bridge("brt0", ("10.9.0.1/24",)))
        assert addresses() == {"10.9.0.1/24"}
        assert sysctls.get_ipv6("brt0", "disable_ipv6") == "1"

    def test_it_may_have_ipv6_only(self):
        bridge.ensure(Bridge("brt0", ("fd00:9::1/64",)))
        assert "fd00:9::1/64" in addresses()
        assert mac().startswith("02:42:")

    def test_it_may_have_no_address(self):
        bridge.ensure(Bridge("brt0", ()))
        assert addresses() == set()

    def test_a_second_time_changes_nothing(self):
        bridge.ensure(BRIDGE._replace(mtu=1400))
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as events:
            events.bind((0, _RTMGRP_LINK_AND_ADDRESSES))
            bridge.ensure(BRIDGE._replace(mtu=1400))
            with pytest.raises(BlockingIOError):
                events.recv(4096, socket.MSG_DONTWAIT)


def test_its_mac_address_stays_when_ports_come_and_go(host):
    bridge.ensure(BRIDGE)
    before = mac()
    guest = host.guest(2, mac="00:00:00:00:00:02")
    ip("link", "set", guest.endpoint.host_name, "address", "00:00:00:00:00:01")
    assert mac() == before
    ip("link", "delete", guest.endpoint.host_name)
    assert mac() == before


@pytest.mark.usefixtures("host")
class TestRepaired:
    @pytest.fixture(autouse=True)
    def _made(self, host):
        bridge.ensure(BRIDGE._replace(mtu=1400))

    def test_one_that_is_down_comes_up(self):
        ip("link", "set", "brt0", "down")
        bridge.ensure(BRIDGE)
        assert ",UP" in ip("link", "show", "brt0")
        assert set(BRIDGE.addresses) <= addresses()

    @pytest.mark.parametrize("address", BRIDGE.addresses)
    def test_an_address_that_went_comes_back(self, address):
        ip("addr", "delete", address, "dev", "brt0")
        bridge.ensure(BRIDGE)
        assert address in addresses()

    @pytest.mark.parametrize("address", ["10.77.0.1/16", "fd00:77::1/64", "10.9.0.9/24"])
    def test_an_address_that_is_not_wanted_goes(self, address):
        ip("addr", "add", address, "dev", "brt0")
        bridge.ensure(BRIDGE)
        assert address not in addresses()
        assert set(BRIDGE.addresses) <= addresses()

    def test_another_subnet_takes_the_place_of_the_old_one(self):
        bridge.ensure(Bridge("brt0", ("10.9.0.2/16", "fd00:8::1/64")))
        assert {"10.9.0.2/16", "fd00:8::1/64"} <= addresses()
        assert not set(BRIDGE.addresses) & addresses()

    def test_the_mtu_is_set(self):
        bridge.ensure(BRIDGE._replace(mtu=1300))
        assert links.mtu_of("brt0") == 1300

    def test_ipv6_is_enabled_and_disabled(self):
        bridge.ensure(Bridge("brt0", ("10.9.0.1/24",)))
        assert addresses() == {"10.9.0.1/24"}
        bridge.ensure(BRIDGE)
        assert set(BRIDGE.addresses) <= addresses()


@pytest.mark.usefixtures("host")
class TestRefused:
    @pytest.mark.parametrize("device", ["", "sixteen-bytes-xx", "brücke-brücke-", "a b", "a/b"])
    def test_a_name_that_no_interface_can_have(self, device):
        with pytest.raises(InvalidParameter, match="interface name"):
            bridge.ensure(BRIDGE._replace(device=device))

    def test_a_name_of_fifteen_bytes_is_taken(self):
        bridge.ensure(BRIDGE._replace(device="fifteen-bytes-x"))
        assert bridge.exists("fifteen-bytes-x")

    def test_an_interface_that_is_no_bridge(self):
        ip("link", "add", "brt0", "type", "veth")
        with pytest.raises(Conflict, match=r"brt0 exists and is no bridge \(it is veth"):
            bridge.ensure(BRIDGE)
        bridge.remove("brt0")
        assert "brt0" in nethosts.names_of_links()
        assert not bridge.exists("brt0")

    def test_a_foreign_bridge_with_a_foreign_port(self):
        ip("link", "add", "brt0", "type", "bridge")
        ip("link", "add", "uplink0", "master", "brt0", "type", "veth")
        with pytest.raises(Conflict, match="brt0 is not the engine's and has uplink0"):
            bridge.ensure(BRIDGE)
        assert not set(BRIDGE.addresses) & addresses()

    def test_an_mtu_that_no_bridge_can_have(self):
        with pytest.raises(InvalidParameter, match="brt0 cannot have an MTU of 20"):
            bridge.ensure(BRIDGE._replace(mtu=20))
        assert not bridge.exists("brt0")

    @pytest.mark.parametrize("address", ["10.9.0.0.1/24", "fd00:::1/64", "10.9.0.1/33", ""])
    def test_an_address_that_is_none(self, address):
        with pytest.raises(InvalidParameter, match="invalid address"):
            bridge.ensure(BRIDGE._replace(addresses=(address,)))
        assert not bridge.exists("brt0")

    def test_ipv6_on_a_kernel_without(self, monkeypatch):
        monkeypatch.setattr(sysctls, "has_ipv6", lambda: False)
        with pytest.raises(Unsupported, match="IPv6 disabled"):
            bridge.ensure(BRIDGE)
        bridge.ensure(Bridge("brt0", ("10.9.0.1/24",)))


@pytest.mark.usefixtures("host")
class TestAdopted:
    @pytest.fixture(autouse=True)
    def _foreign(self, host):
        ip("link", "add", "brt0", "type", "bridge")
        ip("addr", "add", "10.77.0.1/16", "dev", "brt0")

    def test_it_gets_what_it_lacks_and_keeps_what_it_has(self):
        bridge.ensure(BRIDGE)
        assert {"10.77.0.1/16", *BRIDGE.addresses} <= addresses()
        assert ",UP" in ip("link", "show", "brt0")

    def test_its_mac_address_stays_from_now_on(self):
        before = mac()
        bridge.ensure(BRIDGE)
        ip("link", "add", "port0", "address", "00:00:00:00:00:01", "type", "veth")
        ip("link", "set", "port0", "master", "brt0")
        assert mac() == before

    def test_it_is_never_removed(self):
        bridge.ensure(BRIDGE)
        assert not bridge.is_ours("brt0")
        bridge.remove("brt0")
        assert bridge.exists("brt0")


@pytest.mark.usefixtures("host")
def test_removing_is_idempotent():
    bridge.remove("brt0")
    bridge.ensure(BRIDGE)
    assert bridge.exists("brt0")
    assert bridge.is_ours("brt0")
    for _ in range(2):
        bridge.remove("brt0")
        assert not bridge.exists("brt0")
        assert not bridge.is_ours("brt0")


def test_a_bridge_with_containers_can_be_removed(host):
    bridge.ensure(BRIDGE)
    guest = host.guest(2)
    bridge.remove("brt0")
    assert not bridge.exists("brt0")
    assert "eth0" in guest.call(nethosts.names_of_links)


def test_many_make_one_at_once(host):
    def make(_number: int) -> None:
        namespace.call(host.fd, lambda: bridge.ensure(BRIDGE))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(make, range(32)))
    assert bridge.is_ours("brt0")
    assert set(BRIDGE.addresses) <= addresses()
