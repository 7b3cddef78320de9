"""Reserving endpoints: what is decided, what is refused, what is given back."""

from __future__ import annotations

import ipaddress
import subprocess
import sys
from typing import Any

import pytest

from runengine.errors import Conflict, InvalidParameter, NotFound
from runengine.mgr.network.request import network_config
from runengine.netns.types import Endpoint
from runengine.store.network_types import WantedEndpoint

SUBNET = "10.1.0.0/29"


@pytest.fixture
def net(networks):
    """A network with six addresses, one of them the gateway's."""
    return make(networks, "net", SUBNET)


def make(networks, name, *subnets, options=None, driver="bridge", **fields):
    config = {
        **network_config(driver),
        "IPAM": [{"Subnet": subnet} for subnet in subnets],
        "Options": options or {},
        **fields,
    }
    return networks.create(name, config)


# Addresses


def test_everything_is_decided(networks, net, add):
    web = add("web")
    found = networks.reserve(web.id, [WantedEndpoint("net", aliases=("www",), interface="eth3")])
    assert found == networks.endpoints_of(web.id)
    one = found[0]
    assert (one.ip, one.ip_prefix, one.gateway) == ("10.1.0.2", 29, "10.1.0.1")
    assert (one.mac, one.interface) == ("02:42:0a:01:00:02", "eth3")
    assert one.host_name.startswith("ve")
    assert len(one.host_name) == 14
    assert one.wanted == WantedEndpoint(net.id, "net", aliases=("www",))
    assert networks.endpoint_info(one.id) == networks.endpoints_of(web.id)[0]
    assert networks.endpoints_on(net.id) == networks.endpoint_list()
    with pytest.raises(NotFound, match="endpoint ffff"):
        networks.endpoint_info("f" * 64)


def test_the_link_is_as_the_mechanisms_take_it(networks, add):
    options = {
        "com.docker.network.driver.mtu": "1400",
        "com.docker.network.bridge.enable_icc": "false",
    }
    made = make(networks, "net", "10.1.0.0/24", "fd00:1::/64", options=options)
    wish = WantedEndpoint(
        "net",
        link_local=("169.254.3.4",),
        driver_opts={
            "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1",
            "com.docker.network.endpoint.ifname": "lan0",
        },
    )
    one = networks.reserve(add("web").id, [wish])[0]
    link = networks.link_of(one, default_route=True)
    assert link == Endpoint(
        "bridge",
        made.device,
        "lan0",
        ("10.1.0.2/24", "fd00:1::2/64", "169.254.3.4/16"),
        host_name=one.host_name,
        mac="02:42:0a:01:00:02",
        gateways=("10.1.0.1", "fd00:1::1"),
        mtu=1400,
        sysctls=(("net.ipv4.conf.IFNAME.log_martians", "1"),),
        isolated=True,
    )
    assert networks.link_of(one, default_route=False).gateways == ()


def test_an_internal_network_leads_nowhere(networks, add):
    make(networks, "net", SUBNET, Internal=True)
    one = networks.reserve(add("web").id, [WantedEndpoint("net")])[0]
    assert one.gateway == ""
    assert networks.link_of(one, default_route=True).gateways == ()


def test_several_networks_at_once(networks, net, add):
    make(networks, "two", "10.2.0.0/24")
    web = add("web")
    found = networks.reserve(web.id, [WantedEndpoint("two"), WantedEndpoint("net")])
    assert [(one.network_name, one.interface) for one in found] == [
        ("two", "eth0"), ("net", "eth1")
    ]
    assert [one.network_name for one in networks.endpoints_of(web.id)] == ["two", "net"]
    networks.release(web.id, networks.get("two").id)
    again = networks.reserve(web.id, [WantedEndpoint("two")])
    assert again[0].interface == "eth0"


def test_addresses_go_round(networks, net, add):
    records = [add(f"c{number}") for number in range(5)]
    ips = [networks.reserve(one.id, [WantedEndpoint("net")])[0].ip for one in records]
    assert ips == [f"10.1.0.{number}" for number in range(2, 7)]
    networks.release(records[0].id)
    networks.release(records[3].id)
    assert networks.reserve(records[3].id, [WantedEndpoint("net")])[0].ip == "10.1.0.2"


def test_a_run_that_goes_on_has_its_address_again(networks, net, add):
    former = WantedEndpoint("net", former=("10.1.0.5", ""), former_mac="02:42:0a:00:00:77")
    web = add("web")
    one = networks.reserve(web.id, [former])[0]
    assert (one.ip, one.mac) == ("10.1.0.5", "02:42:0a:00:00:77")
    assert networks.wanted_of(web.id) == [WantedEndpoint(net.id, "net")]  # for one run only
    # Somebody else has it by now.
    other = networks.reserve(add("other").id, [former])[0]
    assert (other.ip, other.mac) != (one.ip, one.mac)
    elsewhere = networks.reserve(add("third").id, [former._replace(former=("10.9.9.9", "fd::1"))])
    assert elsewhere[0].ip.startswith("10.1.0.")


def test_who_reserves_again_gives_back_first(networks, net, add):
    web = add("web")
    first = networks.reserve(web.id, [WantedEndpoint("net", ip="10.1.0.4")])[0]
    second = networks.reserve(web.id, [WantedEndpoint("net", ip="10.1.0.4")])[0]
    assert first.id != second.id
    assert networks.endpoints_of(web.id) == [second]


def test_an_exhausted_network_says_so(networks, net, add):
    for number in range(5):
        networks.reserve(add(f"c{number}").id, [WantedEndpoint("net")])
    late = add("late")
    with pytest.raises(Conflict, match=r"no available IPv4 addresses on network net: .*10.1.0.0"):
        networks.reserve(late.id, [WantedEndpoint("net")])
    assert networks.endpoints_of(late.id) == []


def test_who_has_ended_makes_room(networks, net, add, ended):
    for number in range(5):
        record = add(f"c{number}")
        networks.reserve(record.id, [WantedEndpoint("net")])
        if number in (1, 3):
            ended.add(record.id)
    ips = [networks.reserve(add(f"d{n}").id, [WantedEndpoint("net")])[0].ip for n in range(2)]
    assert ips == ["10.1.0.3", "10.1.0.5"]


def test_a_range_bounds_what_is_chosen_but_not_what_is_wished(networks, add):
    config = {
        **network_config(),
        "IPAM": [{
            "Subnet": "10.1.0.0/24",
            "IPRange": "10.1.0.64/31",
            "AuxiliaryAddresses": {"printer": "10.1.0.64"},
        }],
    }
    networks.create("net", config)
    assert networks.reserve(add("a").id, [WantedEndpoint("net")])[0].ip == "10.1.0.65"
    assert networks.reserve(add("b").id, [WantedEndpoint("net", ip="10.1.0.9")])
    with pytest.raises(Conflict, match=r"all of 10\.1\.0\.64/31 are in use"):
        networks.reserve(add("c").id, [WantedEndpoint("net")])


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"ip": "10.1.0.1"}, "10.1.0.1 of network net is already in use.*own: gateway"),
        ({"ip": "10.1.0.6"}, "10.1.0.6 of network net is already in use.*own: aux address r"),
        ({"ip": "10.1.0.0"}, "no host can have it"),
        ({"ip": "10.1.0.7"}, "no host can have it"),
        ({"ip": "10.2.0.1"}, r"whose subnet is 10.1.0.0/29: not in it"),
        ({"ip": "fd00:1::7"}, "invalid IPv4 address fd00:1::7"),
        ({"ip6": "10.1.0.3"}, "invalid IPv6 address 10.1.0.3"),
        ({"ip6": "fd00:1::"}, "no host can have it"),
        ({"ip": "10.1.0"}, "invalid IP address '10.1.0'"),
        ({"mac": "nonsense"}, "invalid MAC address"),
        ({"link_local": ("10.1.0.3",)}, "invalid link-local IP address 10.1.0.3"),
        (
            {"driver_opts": {"com.docker.network.endpoint.sysctls": "x"}},
            "'x' is no KEY=VALUE",
        ),
    ],
)
def test_what_the_network_cannot_give_is_refused(networks, add, wish, message):
    config = {
        **network_config(),
        "IPAM": [
            {"Subnet": SUBNET, "AuxiliaryAddresses": {"r": "10.1.0.6"}},
            {"Subnet": "fd00:1::/64"},
        ],
    }
    networks.create("net", config)
    web = add("web")
    with pytest.raises(InvalidParameter, match=message):
        networks.reserve(web.id, [WantedEndpoint("net", **wish)])
    assert networks.endpoints_of(web.id) == []
    assert networks.wanted_of(web.id) == []


def test_addresses_of_chosen_subnets_are_not_for_the_asking(networks, add):
    # M-01
    networks.create("net", network_config())
    with pytest.raises(InvalidParameter, match="only where the subnet was named too"):
        networks.reserve(add("web").id, [WantedEndpoint("net", ip="172.18.0.9")])


def test_a_taken_address_names_who_has_it(networks, net, add, ended):
    web, late = add("web"), add("late")
    networks.reserve(web.id, [WantedEndpoint("net", ip="10.1.0.5")])
    message = rf"IP address 10.1.0.5 of network net .*container web \({web.id[:12]}\) has it"
    with pytest.raises(Conflict, match=message):
        networks.reserve(late.id, [WantedEndpoint("net", ip="10.1.0.5")])
    ended.add(web.id)
    assert networks.reserve(late.id, [WantedEndpoint("net", ip="10.1.0.5")])[0].ip == "10.1.0.5"


def test_a_taken_mac_names_who_has_it(networks, net, add, ended):
    web, late = add("web"), add("late")
    wish = WantedEndpoint("net", mac="02-42-0A-01-00-03")
    networks.reserve(web.id, [wish])
    with pytest.raises(Conflict, match=r"MAC address 02:42:0a:01:00:03 .* net: container web"):
        networks.reserve(late.id, [wish])
    # The address that would have this MAC gets another one.
    found = networks.reserve(late.id, [WantedEndpoint("net")])[0]
    assert found.ip == "10.1.0.3"
    assert found.mac.startswith("02:42:")
    assert found.mac != "02:42:0a:01:00:03"
    ended.add(web.id)
    assert networks.reserve(late.id, [wish])[0].mac == "02:42:0a:01:00:03"


def test_one_wish_that_fails_undoes_the_others(networks, net, add):
    make(networks, "two", "10.2.0.0/24")
    web, late = add("web"), add("late")
    networks.reserve(web.id, [WantedEndpoint("two", ip="10.2.0.9")])
    with pytest.raises(Conflict):
        networks.reserve(
            late.id, [WantedEndpoint("net"), WantedEndpoint("two", ip="10.2.0.9")]
        )
    assert networks.endpoints_of(late.id) == []
    assert networks.reserve(late.id, [WantedEndpoint("net")])[0].ip == "10.1.0.2"


def test_macvlan_and_ipvlan_have_no_end_on_the_host(networks, add):
    parent = {"parent": "eth0"}
    make(networks, "mac", SUBNET, driver="macvlan", options={**parent, "macvlan_mode": "private"})
    one = networks.reserve(add("web").id, [WantedEndpoint("mac")])[0]
    assert (one.device, one.host_name, one.mode) == ("eth0", "", "private")
    assert one.mac == "02:42:0a:01:00:02"
    networks.release(one.container_id)
    networks.remove("mac")
    make(networks, "ip", SUBNET, driver="ipvlan", options=parent)
    two = networks.reserve(add("db").id, [WantedEndpoint("ip")])[0]
    assert (two.mode, two.mac) == ("l2", "")
    with pytest.raises(InvalidParameter, match="an ipvlan has its parent's MAC address"):
        networks.reserve(add("x").id, [WantedEndpoint("ip", mac="02:42:00:00:00:01")])


def test_host_and_none_have_nothing_to_give(networks, add):
    web = add("web")
    one = networks.reserve(web.id, [WantedEndpoint("host")])[0]
    assert (one.driver, one.ip, one.mac, one.device) == ("host", "", "", "")
    assert list(networks.inspect("host")["Containers"]) == [web.id]
    networks.ensure_up(networks.get("host"))


def test_who_is_not_there_reserves_nothing(networks, net):
    with pytest.raises(NotFound, match="No such container: ffffffffffff"):
        networks.reserve("f" * 64, [WantedEndpoint("net")])
    assert networks.endpoints_on(net.id) == []


def test_wishes_follow_the_name_of_a_network_made_anew(networks, net, add):
    web = add("web")
    networks.want(web.id, [WantedEndpoint("net", aliases=("www",))])
    networks.remove("net")
    again = make(networks, "net", SUBNET)
    found = networks.wanted_of(web.id)
    assert found == [WantedEndpoint(again.id, "net", aliases=("www",))]
    assert networks.reserve(web.id, found)[0].network_id == again.id
    networks.release(web.id)
    networks.remove("net")
    gone = networks.wanted_of(web.id)
    with pytest.raises(NotFound, match="not found"):
        networks.reserve(web.id, gone)


def test_a_network_gives_way_to_what_came_before_it(networks, host, add):
    made = networks.create("net", network_config())
    assert made.pools[0].subnet == "172.18.0.0/16"
    host.links = {"eth0": 2}
    host.used.append("172.18.7.0/24")
    one = networks.reserve(add("web").id, [WantedEndpoint("net")])[0]
    assert one.ip == "172.19.0.2"
    networks.ensure_up(made)  # as the caller looked it up before
    assert "172.19.0.1" in host.addresses
    host.links = {"eth0": 2}
    assert networks.get("net").pools[0].subnet == "172.19.0.0/16"
    assert networks.get("net").id == made.id
    host.used.append("172.19.0.0/16")
    assert networks.reserve(add("db").id, [WantedEndpoint("net")])[0].ip == "172.19.0.3"


def test_a_network_that_changes_meanwhile_is_looked_at_again(
    networks, net, add, context, monkeypatch
):
    from runengine.mgr.network import reserve

    whole = reserve._transact
    web = add("web")
    asked: list[Any] = []

    def transact(*arguments):
        if not asked:
            with context.store.database.write():
                context.store.networks.remove(net.id)
                pools = (net.pools[0]._replace(subnet="10.9.0.0/24", gateway="10.9.0.1"),)
                context.store.networks.add(net._replace(pools=pools))
        asked.append(1)
        return whole(*arguments)

    monkeypatch.setattr(reserve, "_transact", transact)
    assert networks.reserve(web.id, [WantedEndpoint("net")])[0].ip == "10.9.0.2"


# Many at once

RIVAL = """
import sys
from runengine.config import defaults
from runengine.mgr.events import Events
from runengine.mgr.network.manager import NetworkMgr
from runengine.netns import listening
from runengine.paths import Paths
from runengine.store.network_types import WantedEndpoint, WantedPort
from runengine.store.store import Store

root, state, *ids = sys.argv[1:]
paths = Paths(root, state)
listening.Listeners = type("None", (), {"__init__": lambda *_: None, "find": lambda *_: None})
manager = NetworkMgr(defaults(paths), Store.open(paths), Events(paths.journal), lambda _: None)
sys.stdin.read()
ports = (WantedPort(80), WantedPort(81, "tcp", "", 9000, 9999))
for number, identity in enumerate(ids):
    manager.reserve(identity, [WantedEndpoint("net", ports=ports), WantedEndpoint("two")])
    if number % 3 == 2:
        manager.release(identity)
"""


@pytest.mark.side_effects
def test_sixteen_processes_get_nothing_in_common(networks, add, roots):
    make(networks, "net", "10.1.0.0/24", "fd00:1::/64")
    make(networks, "two", "10.2.0.0/16")
    shares = [[add(f"c{process}-{n}").id for n in range(12)] for process in range(16)]
    rivals = [
        subprocess.Popen(
            [sys.executable, "-c", RIVAL, roots.root, roots.state, *ids],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for ids in shares
    ]
    for rival in rivals:
        assert rival.stdin
        rival.stdin.close()  # all of them go on now
    errors = []
    for rival in rivals:
        with rival:
            assert rival.stderr
            errors.append(rival.stderr.read().decode())
    assert [rival.returncode for rival in rivals] == [0] * 16, "\n".join(errors)
    found = networks.endpoint_list()
    assert len(found) == 16 * 8 * 2
    for name in ("net", "two"):
        here = [one for one in found if one.network_name == name]
        for values in ([one.ip for one in here], [one.mac for one in here]):
            assert len(set(values)) == len(here) == 16 * 8
    subnet = ipaddress.ip_network("10.1.0.0/24")
    assert all(
        ipaddress.ip_address(one.ip) in subnet for one in found if one.network_name == "net"
    )
    assert len({one.ip6 for one in found}) == 16 * 8 + 1
    ports = [port[:3] for one in found for port in one.ports]
    assert len(set(ports)) == len(ports) == 16 * 8 * 4
