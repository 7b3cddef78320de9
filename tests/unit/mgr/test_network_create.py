"""Creating networks, on a host of notes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runengine.errors import AlreadyExists, Conflict, InvalidParameter, NotFound, Unsupported
from runengine.mgr.network.request import network_config


def pool(subnet, **fields):
    return {"IPAM": [{"Subnet": subnet, **fields}]}


def events(context):
    lines = Path(context.events.path).read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [(one["Action"], one["Actor"]["Attributes"]) for one in found]


# The built-in ones


def test_three_networks_are_always_there(networks, host):
    # O-08
    found = {one["Name"]: one for one in networks.list()}
    assert {name: one["Driver"] for name, one in found.items()} == {
        "bridge": "bridge", "host": "host", "none": "null"
    }
    assert found["bridge"]["IPAM"]["Config"] == [
        {"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}
    ]
    assert host.log == []
    assert networks.get("bridge").device.startswith("re")
    assert networks.list() == networks.list()


def test_the_default_bridge_meets_nothing_of_the_host(networks, host):
    host.used = ["172.16.0.0/12", "192.168.0.0/20"]
    assert networks.get("bridge").pools[0].subnet == "192.168.16.0/20"


def test_a_host_that_uses_everything_still_has_the_other_two(networks, host, create):
    host.used = ["172.16.0.0/12", "192.168.0.0/16"]
    with pytest.raises(Conflict, match=r"all predefined address pools .*default_address_pools"):
        networks.get("bridge")
    assert networks.get("none").driver == "null"
    assert create(**pool("10.1.0.0/24")).name == "net"
    assert len(networks.list()) == 3
    host.used = []
    assert networks.get("bridge").driver == "bridge"


@pytest.mark.parametrize("name", ["bridge", "host", "none"])
def test_the_built_in_ones_are_protected(networks, create, name):
    # O-12
    with pytest.raises(Conflict, match=f"{name} is a pre-defined network and cannot be removed"):
        networks.remove(name)
    with pytest.raises(AlreadyExists, match=f"network with name {name} already exists"):
        create(name)
    assert networks.prune() == []
    assert len(networks.list()) == 3


# Creating


def test_a_network_is_chosen_a_subnet_and_made(networks, host, create, context):
    # O-09
    made = create(Labels={"a": "b"}, Attachable=True)
    assert made.pools[0][:2] == ("172.18.0.0/16", "172.18.0.1")
    assert made.device == f"br-{made.id[:12]}"
    assert host.log == [f"make {made.device}", f"ensure {made.device}", "replay"]
    assert host.table == {made.device}
    assert host.allowed == [made.device]
    assert networks.get("net") == made
    assert events(context) == [("create", {"name": "net", "type": "bridge"})]
    assert create("two").pools[0].subnet == "172.19.0.0/16"


def test_ipv6_gets_a_private_subnet(create):
    made = create(EnableIPv6=True)
    assert [one.family for one in made.pools] == [4, 6]
    assert made.pools[1].subnet.startswith("fd")
    only = create("only", EnableIPv6=True, EnableIPv4=False)
    assert [one.family for one in only.pools] == [6]
    assert only.pools[0].subnet != made.pools[1].subnet


def test_what_the_user_says_of_addresses_is_kept(create):
    made = create(
        EnableIPv6=True,
        IPAM=[
            {
                "Subnet": "10.1.0.0/16",
                "IPRange": "10.1.4.0/24",
                "Gateway": "10.1.255.254",
                "AuxiliaryAddresses": {"router": "10.1.0.7"},
            },
            {"Subnet": "fd00:1::/64"},
        ],
        IPAMOptions={"x": "y"},
    )
    four, six = made.pools
    assert four == ("10.1.0.0/16", "10.1.255.254", "10.1.4.0/24", {"router": "10.1.0.7"}, False)
    assert six[:2] == ("fd00:1::/64", "fd00:1::1")
    assert made.ipam_options == {"x": "y"}


def test_an_ipv6_subnet_switches_ipv6_on(create):
    made = create(**pool("fd00:1::/64"))
    assert made.ipv6
    assert [one.family for one in made.pools] == [4, 6]


def test_pools_of_the_configuration_are_used(context, host, networks):
    from runengine.mgr.network.manager import NetworkMgr

    config = context.config._replace(default_address_pools=(("10.200.0.0/16", 24),))
    manager = NetworkMgr(config, context.store, context.events, lambda _: None)
    assert manager.get("bridge").pools[0].subnet == "10.200.0.0/24"
    assert manager.create("a", network_config()).pools[0].subnet == "10.200.1.0/24"
    bad = context.config._replace(default_address_pools=(("10.200.0.0/16", 8),))
    manager = NetworkMgr(bad, context.store, context.events, lambda _: None)
    with pytest.raises(InvalidParameter, match="invalid size 8 of default_address_pools"):
        manager.create("b", network_config())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("a/b", "only"),
        ("..", "only"),
        (".hidden", "only"),
        ("-x", "only"),
        ("a b", "only"),
        ("a\n", "only"),
        ("ä", "only"),
        ("container:x", "only"),
        ("x" * 129, "longer than 128"),
        ("default", "means something else"),
        ("f" * 64, "means something else"),
    ],
)
def test_names_that_cannot_be_are_refused(create, networks, name, message):
    with pytest.raises(InvalidParameter, match=f"invalid network name.*{message}"):
        create(name)
    assert len(networks.list()) == 3


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"Driver": "overlay"}, Unsupported, "driver overlay joins several hosts"),
        ({"Driver": "weave"}, NotFound, "network driver 'weave' not found"),
        ({"Driver": "host"}, Conflict, "only one instance of 'host' network is allowed"),
        ({"Driver": "null"}, Conflict, "only one instance"),
        ({"Scope": "swarm"}, Unsupported, "scope 'swarm'"),
        ({"ConfigFrom": "x"}, Unsupported, "--config-from"),
        ({"ConfigOnly": True}, Unsupported, "--config-only"),
        ({"Ingress": True}, Unsupported, "--ingress"),
        ({"IPAMDriver": "dhcp"}, NotFound, "IPAM driver 'dhcp' not found"),
        ({"EnableIPv4": False}, InvalidParameter, "IPv4 is off, so it needs IPv6"),
        (
            {"EnableIPv4": False, "EnableIPv6": True, **pool("10.1.0.0/24")},
            InvalidParameter,
            "no IPv4 subnet",
        ),
        (pool("10.1.0.1/24"), InvalidParameter, "it should be 10.1.0.0/24"),
        (pool("10.1.0/24"), InvalidParameter, "invalid subnet"),
        (pool("", Gateway="10.1.0.1"), InvalidParameter, "needs a subnet"),
        (pool("10.1.0.0/24", Gateway="10.2.0.1"), InvalidParameter, "gateway 10.2.0.1: it is not"),
        (pool("10.1.0.0/24", Gateway="10.1.0.0"), InvalidParameter, "no host of 10.1.0.0/24"),
        (pool("10.1.0.0/24", Gateway="10.1.0.255"), InvalidParameter, "no host of"),
        (pool("10.1.0.0/24", Gateway="x"), InvalidParameter, "invalid IP address 'x'"),
        (pool("10.1.0.0/24", Gateway="fd00::1"), InvalidParameter, "it is not in subnet"),
        (pool("10.1.0.0/24", IPRange="10.1.1.0/25"), InvalidParameter, "invalid ip-range"),
        (pool("10.1.0.0/24", IPRange="10.1.0.0/16"), InvalidParameter, "invalid ip-range"),
        (pool("10.1.0.0/24", IPRange="10.1.0.1/25"), InvalidParameter, "it should be"),
        (pool("10.1.0.0/24", IPRange="fd00::/64"), InvalidParameter, "invalid ip-range"),
        (
            pool("10.1.0.0/24", AuxiliaryAddresses={"a": "10.2.0.1"}),
            InvalidParameter,
            "invalid aux-address 10.2.0.1",
        ),
        (
            pool("10.1.0.0/24", AuxiliaryAddresses={"a": "10.1.0.1"}),
            Conflict,
            "two of its own addresses are the same",
        ),
        (
            {"IPAM": [{"Subnet": "10.1.0.0/24"}, {"Subnet": "10.2.0.0/24"}]},
            InvalidParameter,
            r"several IPv4 subnets \(10.1.0.0/24, 10.2.0.0/24\)",
        ),
        (pool("172.17.5.0/24"), Conflict, "overlaps with 172.17.0.0/16 of network bridge"),
        (pool("172.16.0.0/12"), Conflict, "overlaps with"),
        (pool("192.0.2.0/24"), Conflict, "would hide 192.0.2.0/24"),
        (pool("192.0.0.0/16"), Conflict, "would hide 192.0.2.0/24"),
        ({"Options": {"com.docker.network.driver.mtu": "12"}}, InvalidParameter, "68 to 65535"),
        ({"Options": {"com.docker.network.driver.mtu": "x"}}, InvalidParameter, "68 to 65535"),
        (
            {"Options": {"com.docker.network.bridge.enable_icc": "perhaps"}},
            InvalidParameter,
            "true or false",
        ),
        (
            {"Options": {"com.docker.network.bridge.host_binding_ipv4": "::1"}},
            InvalidParameter,
            "no IPv4",
        ),
        (
            {"Options": {"com.docker.network.bridge.name": "a/b"}},
            InvalidParameter,
            "invalid interface name",
        ),
        (
            {"Driver": "macvlan", "Options": {"macvlan_mode": "l2"}},
            InvalidParameter,
            "one of bridge private vepa passthru",
        ),
        (
            {"Driver": "ipvlan", "Options": {"ipvlan_mode": "x"}},
            InvalidParameter,
            "one of l2 l3 l3s",
        ),
    ],
)
def test_what_cannot_be_leaves_nothing(create, networks, host, fields, kind, message):
    networks.list()
    with pytest.raises(kind, match=message):
        create("net", **fields)
    assert len(networks.list()) == 3
    assert host.log == []
    assert list(host.links) == ["eth0"]


def test_a_part_of_what_the_host_routes_may_be_used(create, host):
    host.used = ["10.0.0.0/8"]
    assert create(**pool("10.1.0.0/24")).pools[0].subnet == "10.1.0.0/24"


def test_an_existing_bridge_may_have_its_subnet(create, host):
    host.links["br9"] = 9
    made = create(
        **pool("192.0.2.0/24"), Options={"com.docker.network.bridge.name": "br9"}
    )
    assert made.device == "br9"


def test_two_networks_share_neither_name_nor_bridge(create, networks):
    options = {"com.docker.network.bridge.name": "shared0"}
    create("one", Options=options)
    with pytest.raises(AlreadyExists, match="network with name one already exists"):
        create("one")
    with pytest.raises(Conflict, match="the bridge shared0 belongs to network one"):
        create("two", Options=options)
    assert len(networks.list()) == 4


def test_a_bridge_that_cannot_be_made_takes_the_record_along(create, networks, host):
    host.failing = Conflict("interface x exists and is no bridge")
    with pytest.raises(Conflict, match="is no bridge"):
        create()
    host.failing = None
    assert len(networks.list()) == 3
    create()


def test_unknown_options_are_kept(create, networks):
    create(Options={"com.example": "x"})
    assert networks.inspect("net")["Options"] == {"com.example": "x"}


def test_macvlan_and_ipvlan_are_on_a_link(create, networks, host):
    made = create("mac", Driver="macvlan", Options={"parent": "eth0"}, **pool("10.3.0.0/24"))
    assert (made.device, made.internal) == ("eth0", False)
    second = create("more", Driver="macvlan", Options={"parent": "eth0"}, **pool("10.4.0.0/24"))
    assert second.device == "eth0"
    with pytest.raises(Conflict, match="link eth0 belongs to network mac, whose driver"):
        create("ip", Driver="ipvlan", Options={"parent": "eth0"}, **pool("10.5.0.0/24"))
    assert host.log == []
    networks.remove("mac")
    assert "eth0" in host.links
    alone = create("alone", Driver="ipvlan")
    assert alone.internal
    assert host.log == [f"make {alone.device}"]
    networks.remove("alone")
    assert host.log[1:] == [f"remove {alone.device}"]


def test_a_kernel_without_the_driver_is_told(create, host):
    host.drivers = set()
    with pytest.raises(Unsupported, match=r"this kernel has no macvlan.*modprobe macvlan"):
        create(Driver="macvlan", Options={"parent": "eth0"})


def test_what_was_changed_on_the_host_is_noted(create, networks, host):
    host.forwarding = ["net.ipv4.ip_forward=1"]
    create()
    assert networks.notices == ["network net needs forwarding: set net.ipv4.ip_forward=1"]
