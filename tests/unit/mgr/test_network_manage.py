"""Finding, listing, inspecting, removing and reloading networks, on a host of notes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runengine.errors import (
    AmbiguousName,
    Conflict,
    EngineError,
    InvalidParameter,
    NotFound,
    StateError,
)
from runengine.store.network_types import WantedEndpoint, WantedPort


def events(context):
    lines = Path(context.events.path).read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [(one["Action"], one["Actor"]["Attributes"]) for one in found]


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
    create(IPAM=[{"Subnet": "10.1.0.0/24"}])
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
    assert (found["EnableIPv4"], found["EnableIPv6"]) == (True, False)
    assert networks.list()[-1]["Containers"] == {}


# Removing


def test_the_table_goes_with_the_last_bridge_not_with_the_last_network(networks, create, host):
    _, up, down = create(), create("up"), create("down")
    del host.links[down.device]  # as after a boot
    networks.remove("net")
    assert host.table is not None
    assert up.device in host.table
    networks.remove("up")
    assert host.table is None


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
    left = Path(f"{context.config.paths.state}/networks").iterdir()
    assert [path.name for path in left] == ["firewall.lock"]


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


def test_mend_is_for_a_table_that_was_flushed_alone(networks, create, host, add):
    made = create("used")
    assert not networks.mend()  # it was never up
    networks.ensure_up(made)
    host.log.clear()
    assert not networks.mend()
    assert host.log == []
    host.table = None
    host.allowed.clear()
    assert networks.mend()
    assert (host.table, host.allowed) == ({made.device}, [made.device])
    assert host.log == ["replay"]


def test_mend_leaves_no_table_where_no_network_is_up(networks, create, host):
    networks.ensure_up(create("used"))
    host.links, host.table = {"eth0": 2}, None
    assert not networks.mend()
    assert host.table is None


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
