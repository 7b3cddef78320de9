"""Creating networks, looking at them, removing them: on a host of notes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runengine.errors import (
    AlreadyExists,
    AmbiguousName,
    Conflict,
    EngineError,
    InvalidParameter,
    NotFound,
    StateError,
    Unsupported,
)
from runengine.mgr.network.request import network_config
from runengine.store.network_types import WantedEndpoint


@pytest.fixture
def create(networks):
    """Creates a network; keywords are fields of its configuration."""

    def create_one(name="net", **fields):
        return networks.create(name, {**network_config(), **fields})

    return create_one


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


# Finding and listing


def test_networks_are_found_by_name_then_id_then_prefix(networks, create):
    # O-10
    one = create("one")
    named = create(one.id[:12])
    assert networks.get("one") == networks.get(one.id) == one
    assert networks.get(one.id[:12]) == named
    assert networks.get_network_by_partial_id(one.id[:13]) == one
    assert networks.get_network_by_name("one") == one
    assert networks.get_networks_by_partial_id(one.id[:20]) == [one]
    assert networks.get_networks_by_partial_id("x") == []
    assert len(networks.get_networks_by_partial_id("")) == 5
    with pytest.raises(NotFound, match="network nope not found"):
        networks.get("nope")
    with pytest.raises(NotFound, match="not found"):
        networks.get_network_by_name(one.id)
    with pytest.raises(NotFound):
        networks.get_network_by_partial_id("")


def test_an_ambiguous_prefix_is_told(networks, create):
    firsts = [create(f"n{number}").id[0] for number in range(17)]
    twice = next(first for first in firsts if firsts.count(first) > 1)
    with pytest.raises(AmbiguousName, match=f"network {twice} is ambiguous"):
        networks.get_network_by_partial_id(twice)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["bridge", "host", "mac", "none", "web"]),
        ({"driver": ["bridge"]}, ["bridge", "web"]),
        ({"driver": ["bridge", "null"]}, ["bridge", "none", "web"]),
        ({"name": ["^b"]}, ["bridge"]),
        ({"name": ["e"]}, ["bridge", "none", "web"]),
        ({"label": ["tier"]}, ["mac", "web"]),
        ({"label": ["tier=front"]}, ["web"]),
        ({"label": ["tier", "x=y"]}, ["web"]),
        ({"scope": ["local"]}, ["bridge", "host", "mac", "none", "web"]),
        ({"scope": ["swarm"]}, []),
        ({"type": ["builtin"]}, ["bridge", "host", "none"]),
        ({"type": ["custom"]}, ["mac", "web"]),
        ({"type": ["custom"], "driver": ["macvlan"]}, ["mac"]),
        ({"dangling": ["true"]}, ["mac"]),
        ({"dangling": ["0"]}, ["bridge", "host", "none", "web"]),
    ],
)
def test_filters(networks, create, add, filters, expected):
    # O-11
    create("web", Labels={"tier": "front", "x": "y"})
    create("mac", Driver="macvlan", Options={"parent": "eth0"}, Labels={"tier": ""})
    networks.want(add("c").id, [WantedEndpoint("web")])
    assert [one["Name"] for one in networks.list(filters)] == expected


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"nope": ["x"]}, "invalid filter 'nope' .*dangling driver id label name scope type"),
        ({"type": ["x"]}, "expected builtin or custom"),
        ({"dangling": ["x"]}, "expected true or false"),
        ({"name": ["("]}, "no regular expression"),
    ],
)
def test_filters_that_mean_nothing_are_refused(networks, filters, message):
    with pytest.raises(InvalidParameter, match=message):
        networks.list(filters)


def test_inspect_shows_who_is_on_the_network(networks, create, add, ended):
    create(**pool("10.1.0.0/24"))
    web, gone = add("web"), add("gone")
    reserved = networks.reserve(web.id, [WantedEndpoint("net", ip="10.1.0.9")])[0]
    networks.reserve(gone.id, [WantedEndpoint("net")])
    ended.add(gone.id)
    found = networks.inspect("net")
    assert found["Containers"] == {
        web.id: {
            "Name": "web",
            "EndpointID": reserved.id,
            "MacAddress": "02:42:0a:01:00:09",
            "IPv4Address": "10.1.0.9/24",
            "IPv6Address": "",
        }
    }
    assert found["IPAM"]["Config"] == [{"Subnet": "10.1.0.0/24", "Gateway": "10.1.0.1"}]
    assert networks.list()[-1]["Containers"] == {}


# Removing


def test_a_network_goes_with_its_bridge(networks, create, host, context):
    made = create()
    networks.remove(made.id[:10])
    assert host.log[-1] == f"remove {made.device}"
    assert host.table is None
    assert host.allowed == []
    assert events(context)[-1] == ("destroy", {"name": "net", "type": "bridge"})
    with pytest.raises(NotFound):
        networks.get("net")
    with pytest.raises(NotFound):
        networks.remove("net")
    networks.remove("net", force=True)
    assert not list(Path(f"{context.config.paths.state}/networks").iterdir())


def test_the_table_stays_while_a_bridge_needs_it(networks, create, host):
    create("one")
    create("two")
    networks.remove("one")
    assert host.table == {networks.get("two").device}


def test_a_network_in_use_stays_and_names_who_is_on_it(networks, create, add, ended, host):
    # O-12
    create()
    web, gone = add("web"), add("gone")
    for record in (web, gone):
        networks.reserve(record.id, [WantedEndpoint("net")])
    ended.add(gone.id)
    message = rf"network net has active endpoints: web \({web.id[:12]}\)"
    with pytest.raises(Conflict, match=message):
        networks.remove("net")
    ended.add(web.id)
    networks.remove("net")
    assert len(host.links) == 1


def test_a_removal_that_fails_leaves_the_network(networks, create, host):
    create()
    host.failing = EngineError("cannot remove interface")
    with pytest.raises(EngineError, match="cannot remove"):
        networks.remove("net")
    assert networks.get("net").name == "net"
    host.failing = None
    networks.remove("net")


def test_a_removal_that_was_cut_short_is_completed(networks, create, host, context, add):
    made = create()
    with context.store.database.write():
        context.store.networks.set_removing(made, removing=True)
    with pytest.raises(NotFound, match="network net not found"):
        networks.get("net")
    with pytest.raises(NotFound, match=f"network {made.id} not found"):
        networks.reserve(add("c").id, [WantedEndpoint(made.id)])
    again = create()
    assert again.id != made.id
    assert list(host.links) == ["eth0", again.device]


def test_a_damaged_record_is_removed_by_force(networks, create, context):
    made = create()
    with context.store.database.write() as connection:
        connection.execute("UPDATE networks SET settings = '{' WHERE id = ?", (made.id,))
    with pytest.raises(StateError, match=r"network net .*is damaged"):
        networks.remove("net")
    networks.remove("net", force=True)
    create()


def test_prune_takes_what_nobody_needs(networks, create, add, context):
    create("used")
    create("wanted")
    create("old", Labels={"keep": "no"})
    create("kept", Labels={"keep": "yes"})
    networks.reserve(add("runs").id, [WantedEndpoint("used")])
    networks.want(add("stopped").id, [WantedEndpoint("wanted")])
    assert networks.prune({"until": ["1h"]}) == []
    assert networks.prune({"label": ["nope"]}) == []
    assert networks.prune({"label!": ["keep=yes"]}) == ["old"]
    assert events(context)[-1] == ("prune", {"reclaimed": "0"})
    assert networks.prune() == ["kept"]
    with pytest.raises(InvalidParameter, match="invalid filter 'driver'"):
        networks.prune({"driver": ["bridge"]})


# Up again


def test_a_bridge_is_made_again_when_it_is_gone(networks, create, host, add):
    made = create()
    reserved = networks.reserve(add("c").id, [WantedEndpoint("net")])[0]
    host.log.clear()
    networks.ensure_up(made)
    assert host.log == []
    del host.links[made.device]
    networks.ensure_up(made)
    assert host.log == [f"make {made.device}", f"ensure {made.device}"]
    assert [one.host_name for one in host.plugged] == [reserved.host_name]


def test_a_flushed_firewall_is_written_anew(networks, create, host, add):
    from runengine.store.network_types import WantedPort

    made = create()
    web = add("web")
    wish = WantedEndpoint("net", ports=(WantedPort(80, host_port=8080),))
    networks.reserve(web.id, [wish])
    published = networks.published_of(web.id)
    host.table = None
    networks.ensure_up(made)
    assert host.table == {made.device}
    assert host.published == set(published)
    host.table, host.published = None, set()
    networks.publish(published)
    assert (host.table, host.published) == ({made.device}, set(published))


def test_reload_puts_everything_back(networks, create, host, add, ended, monkeypatch):
    refreshed = []
    monkeypatch.setattr(
        "runengine.mgr.network.names.refresh", lambda _, ids: refreshed.extend(ids)
    )
    made, idle = create("used"), create("idle")
    networks.reserve(add("web").id, [WantedEndpoint("used")])
    gone = add("gone")
    networks.reserve(gone.id, [WantedEndpoint("idle")])
    ended.add(gone.id)
    host.links, host.table = {"eth0": 2}, None
    assert networks.reload() == ["used"]
    assert host.table == {made.device}
    assert list(host.links) == ["eth0", made.device]
    assert set(refreshed) >= {made.id, idle.id}
    assert networks.reload(["idle"]) == []
    with pytest.raises(NotFound):
        networks.reload(["nope"])
