"""Networks, endpoints, leases and host ports in the database."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import AlreadyExists, AmbiguousName, Conflict, NotFound, StateError
from runengine.model import container_config, host_config
from runengine.store.containers import Record, created_state
from runengine.store.endpoints import Holder
from runengine.store.network_types import (
    Network,
    Pool,
    Port,
    ReservedEndpoint,
    WantedEndpoint,
    WantedPort,
)
from runengine.store.store import Store

A, B, C = ("a" * 64, "a" * 63 + "b", "c" * 64)
WEB, DB = "1" * 64, "2" * 64
IP, IP2 = b"\x0a\0\0\x02", b"\x0a\0\0\x03"
BOOT = "this boot"


@pytest.fixture
def store(roots):
    opened = Store.open(roots)
    for identity, name in ((WEB, "web"), (DB, "db")):
        opened.containers.add(
            Record(
                identity, name, "sha256:0", "2026", container_config("busybox"), host_config(),
                {}, [], created_state(),
            )
        )
    yield opened
    opened.close()


def network(identity=A, name="net", *, device=None, pools=(), driver="bridge", **fields):
    device = f"br-{name}"[:15] if device is None else device
    return Network(identity, name, driver, device, "2026", tuple(pools), **fields)


def add(store, *networks):
    with store.database.write():
        for one in networks:
            store.networks.add(one)


def reserved(container=WEB, net=A, **fields):
    return ReservedEndpoint(container, net, "net", "bridge", "e" * 64, "eth0", "br-net", **fields)


def save(store, endpoint, boot=BOOT):
    with store.database.write():
        store.endpoints.keep_wishes(endpoint.container_id, [endpoint.wanted])
        store.endpoints.save(endpoint, boot)
        store.endpoints.add_ports(endpoint.container_id, endpoint.network_id, endpoint.ports)


# Networks


def test_a_network_comes_back_as_it_was(store):
    whole = network(
        pools=[
            Pool("10.0.0.0/24", "10.0.0.1", "10.0.0.128/25", {"router": "10.0.0.9"}, chosen=True),
            Pool("fd00::/64", "fd00::1"),
        ],
        ipv6=True,
        internal=True,
        attachable=True,
        builtin=True,
        labels={"a": "b"},
        options={"parent": "eth0"},
        ipam_options={"c": "d"},
    )
    add(store, whole)
    assert store.networks.get(A) == whole
    assert whole.pool(6).prefix == 64
    assert whole.pool(4).family == 4
    assert network().pool(4) is None


def test_names_ids_and_prefixes_find_networks(store):
    add(store, network(A, "one"), network(B, "two"), network(C, "aaaa"))
    resolve = store.networks.resolve
    assert (resolve("one"), resolve(A), resolve("c"), resolve("aaaa")) == (A, A, C, C)
    with pytest.raises(AmbiguousName, match="network aaa is ambiguous: 2 networks"):
        resolve("aaa")
    for unknown in ("", "b", "on", "%", "A", A + "0"):
        with pytest.raises(NotFound, match=f"network {unknown} not found"):
            resolve(unknown)
    assert sorted(store.networks.ids("a")) == [A, B]
    assert store.networks.has(A)
    assert not store.networks.has("a")
    with pytest.raises(NotFound):
        store.networks.get("a")


@pytest.mark.parametrize(
    ("other", "kind", "message"),
    [
        (network(B, "net", device="other"), AlreadyExists, "network with name net already exists"),
        (network(B, "two", device="br-net"), Conflict, "bridge br-net belongs to network net"),
        (network(B, "two", pools=[Pool("10.0.0.0/24")]), Conflict, "has its subnet already"),
        (
            network(B, "two", pools=[Pool("10.1.0.0/24", "10.1.0.1", aux={"a": "10.1.0.1"})]),
            Conflict,
            "two of its own addresses are the same",
        ),
    ],
)
def test_what_another_network_has_is_refused_whole(store, other, kind, message):
    add(store, network(pools=[Pool("10.0.0.0/24", "10.0.0.1")]))
    with pytest.raises(kind, match=message):
        add(store, other)
    assert [one.name for one in store.networks.all()] == ["net"]
    assert store.networks.subnets() == [("10.0.0.0/24", "net")]


def test_links_may_be_parents_of_several_networks(store):
    add(
        store,
        network(A, "one", device="eth0", driver="macvlan"),
        network(B, "two", device="eth0", driver="macvlan"),
    )
    assert [one.name for one in store.networks.all()] == ["one", "two"]


def test_a_removal_under_way_hides_the_network_from_listings(store):
    add(store, network(A, "one"), network(C, "two"))
    with store.database.write():
        store.networks.set_removing(store.networks.get(A), removing=True)
    assert [one.name for one in store.networks.all()] == ["two"]
    assert [one.name for one in store.networks.all(removing=True)] == ["one"]
    with store.database.write():
        store.networks.remove(A)
    assert store.networks.all(removing=True) == []


def test_a_network_takes_its_own_addresses_along(store):
    pool = Pool("10.0.0.0/24", "10.0.0.2", aux={"router": "10.0.0.3"})
    add(store, network(pools=[pool]))
    with store.database.write():
        assert store.endpoints.lease(A, IP, WEB) == Holder("", "gateway")
        assert store.endpoints.lease(A, IP2, WEB) == Holder("", "aux address router")
        store.networks.remove(A)
        store.networks.add(network(C, "again", pools=[pool._replace(gateway="", aux={})]))
        assert store.endpoints.lease(C, IP, WEB) is None


@pytest.mark.parametrize("text", ["", "{", "null", "{}", '{"pools": 3}', '{"pools": [], "x": 1}'])
def test_one_damaged_network_hides_no_other(store, text):
    add(store, network(A, "torn"), network(C, "whole"))
    with store.database.write() as connection:
        connection.execute("UPDATE networks SET settings = ? WHERE id = ?", (text, A))
    assert [one.name for one in store.networks.all()] == ["whole"]
    with pytest.raises(StateError, match=r"network torn \(aaaaaaaaaaaa\) is damaged.*network rm"):
        store.networks.get(store.networks.resolve("torn"))
    assert A in store.networks.ids()


# Wishes


WISH = WantedEndpoint(
    A,
    "net",
    ip="10.0.0.7",
    ip6="fd00::7",
    mac="02:42:0a:00:00:07",
    link_local=("169.254.1.1",),
    aliases=("www", "app"),
    links=("db:database",),
    driver_opts={"k": "v"},
    gw_priority=-3,
)


def test_wishes_are_kept_in_order_and_whole(store):
    store.endpoints.want(WEB, [WantedEndpoint(C, "last"), WISH])
    store.endpoints.want(WEB, [WantedEndpoint(B)])
    assert store.endpoints.wanted_of(WEB) == [
        WantedEndpoint(C, "last"), WISH, WantedEndpoint(B)
    ]
    assert store.endpoints.wanted_of(DB) == []
    store.endpoints.want(WEB, [WantedEndpoint(C, "last", ip="10.0.0.9")])
    assert [one.network for one in store.endpoints.wanted_of(WEB)] == [C, A, B]
    assert store.endpoints.networks_in_use() == {A, B, C}


def test_what_is_a_runs_own_is_not_kept(store):
    store.endpoints.want(WEB, [WISH._replace(interface="eth7", ports=(WantedPort(80),))])
    assert store.endpoints.wanted_of(WEB) == [WISH]


def test_wishes_go_with_the_container(store):
    store.endpoints.want(WEB, [WISH])
    store.endpoints.unwant(WEB, B)
    assert store.endpoints.wanted_of(WEB) == [WISH]
    store.containers.remove(WEB)
    assert store.endpoints.wanted_of(WEB) == []
    with pytest.raises(NotFound, match="No such container: 111111111111"):
        store.endpoints.want(WEB, [WISH])


def test_wishes_move_to_the_network_that_has_the_name_now(store):
    store.endpoints.want(WEB, [WISH])
    store.endpoints.move_wishes(WEB, A, C)
    assert store.endpoints.wanted_of(WEB) == [WISH._replace(network=C)]


def test_damaged_wishes_are_named(store):
    store.endpoints.want(WEB, [WISH])
    with store.database.write() as connection:
        connection.execute("UPDATE endpoints SET wanted = '{'")
    with pytest.raises(StateError, match="networks of container 111111111111 are damaged"):
        store.endpoints.wanted_of(WEB)


# What a run has


def test_an_endpoint_comes_back_as_it_was(store):
    whole = reserved(
        host_name="ve012",
        mac="02:42:0a:00:00:07",
        ip="10.0.0.7",
        ip_prefix=24,
        gateway="10.0.0.1",
        ip6="fd00::7",
        ip6_prefix=64,
        gateway6="fd00::1",
        mtu=1400,
        mode="l2",
        isolated=True,
        wanted=WISH,
        ports=(
            Port("tcp", "0.0.0.0", 8080, "10.0.0.7", 80),
            Port("udp", "::", 5000, "fd00::7", 5000, 11),
        ),
    )
    add(store, network())
    save(store, whole)
    assert store.endpoints.of(WEB) == [whole]
    assert store.endpoints.on(A, BOOT) == [whole]
    assert store.endpoints.of_boot(BOOT) == [whole]
    assert store.endpoints.holders(A) == [WEB]
    assert whole.addresses == ("10.0.0.7/24", "fd00::7/64", "169.254.1.1/16")


def test_another_boot_is_another_matter(store):
    save(store, reserved(wanted=WantedEndpoint(A)), boot="before")
    assert store.endpoints.on(A, BOOT) == []
    assert store.endpoints.of_boot(BOOT) == []
    assert len(store.endpoints.of(WEB)) == 1
    assert store.endpoints.holders(A) == [WEB]


def test_release_frees_what_was_the_runs_and_keeps_the_wishes(store):
    add(store, network(pools=[Pool("10.0.0.0/24")]), network(C, "other"))
    for net in (A, C):
        wish = WISH._replace(network=net)
        port = Port("tcp", "0.0.0.0", 80 if net == A else 81, "10.0.0.2", 80)
        save(store, reserved(net=net, mac="02:42:0a:00:00:02", wanted=wish, ports=(port,)))
    with store.database.write():
        store.endpoints.lease(A, IP, WEB)
    store.endpoints.release(WEB, C)
    assert [one.network_id for one in store.endpoints.of(WEB)] == [A]
    for _ in range(2):
        store.endpoints.release(WEB)
        assert store.endpoints.of(WEB) == []
    assert len(store.endpoints.wanted_of(WEB)) == 2
    with store.database.write():
        assert store.endpoints.lease(A, IP, DB) is None
        assert store.endpoints.mac_holder(A, "02:42:0a:00:00:02") is None
        assert store.endpoints.port_holder("tcp", "0.0.0.0", 80, 81) is None


def test_a_removed_container_has_nothing(store):
    add(store, network(pools=[Pool("10.0.0.0/24")]))
    port = Port("tcp", "0.0.0.0", 80, "10.0.0.2", 80)
    save(store, reserved(wanted=WISH, ports=(port,)))
    with store.database.write():
        store.endpoints.lease(A, IP, WEB)
    store.containers.remove(WEB)
    with store.database.write():
        assert store.endpoints.lease(A, IP, DB) is None
        assert store.endpoints.port_holder("tcp", "1.2.3.4", 80, 80) is None


def test_one_damaged_endpoint_hides_no_other(store):
    for container in (WEB, DB):
        save(store, reserved(container, wanted=WantedEndpoint(A)))
    with store.database.write() as connection:
        connection.execute("UPDATE endpoints SET reserved = '[' WHERE container_id = ?", (WEB,))
    assert [one.container_id for one in store.endpoints.on(A, BOOT)] == [DB]
    store.endpoints.release(WEB)
    assert store.endpoints.holders(A) == [DB]


def test_two_containers_have_no_mac_in_common(store):
    save(store, reserved(WEB, mac="02:42:00:00:00:01", wanted=WantedEndpoint(A)))
    assert store.endpoints.mac_holder(A, "02:42:00:00:00:01") == WEB
    with pytest.raises(sqlite3.IntegrityError):
        save(store, reserved(DB, mac="02:42:00:00:00:01", wanted=WantedEndpoint(A)))
    save(store, reserved(DB, net=C, mac="02:42:00:00:00:01", wanted=WantedEndpoint(C)))


# Leases


def test_an_address_has_one_owner(store):
    add(store, network(pools=[Pool("10.0.0.0/24")]), network(C, "other"))
    with store.database.write():
        assert store.endpoints.lease(A, IP, WEB) is None
        assert store.endpoints.lease(A, IP, DB) == Holder(WEB, "")
        assert store.endpoints.lease(A, IP2, DB) is None
        assert store.endpoints.lease(C, IP, DB) is None


def test_leases_are_counted_by_family(store):
    add(store, network(pools=[Pool("10.0.0.0/24"), Pool("a00::/64")]))
    with store.database.write():
        for address in (IP, IP2, IP + bytes(12)):
            store.endpoints.lease(A, address, WEB)
    count = store.endpoints.leased
    assert count(A, b"\x0a\0\0\0", b"\x0a\0\0\xff") == 2
    assert count(A, IP2, b"\x0a\0\0\xff") == 1
    assert count(A, b"\x0a" + bytes(15), b"\x0a" + b"\xff" * 15) == 1
    assert count(C, b"\x0a\0\0\0", b"\x0a\0\0\xff") == 0


def test_the_last_lease_is_noted_for_each_pool(store):
    add(store, network(pools=[Pool("10.0.0.0/24"), Pool("a00::/64")]))
    assert store.endpoints.last_lease(A, 4) is None
    with store.database.write():
        store.endpoints.note_last_lease(A, 4, IP)
    assert (store.endpoints.last_lease(A, 4), store.endpoints.last_lease(A, 6)) == (IP, None)


# Ports


@pytest.mark.parametrize(
    ("protocol", "host_ip", "first", "last", "taken"),
    [
        ("tcp", "0.0.0.0", 8080, 8080, True),
        ("tcp", "127.0.0.1", 8080, 8080, True),
        ("tcp", "0.0.0.0", 1, 65535, True),
        ("tcp", "0.0.0.0", 8070, 8080, True),
        ("tcp", "0.0.0.0", 8085, 8090, True),
        ("tcp", "0.0.0.0", 8079, 8079, False),
        ("tcp", "0.0.0.0", 8086, 8086, False),
        ("udp", "0.0.0.0", 8080, 8080, False),
        ("tcp", "::", 8080, 8080, False),
        ("tcp", "192.0.2.1", 443, 443, True),
        ("tcp", "192.0.2.2", 443, 443, False),
        ("tcp", "0.0.0.0", 443, 443, True),
        ("tcp", "::1", 53, 53, True),
        ("tcp", "127.0.0.1", 53, 53, False),
    ],
)
def test_a_host_port_has_one_owner(store, protocol, host_ip, first, last, taken):
    ports = (
        Port("tcp", "0.0.0.0", 8080, "10.0.0.2", 80, 6),
        Port("tcp", "192.0.2.1", 443, "10.0.0.2", 443),
        Port("tcp", "::", 53, "fd00::2", 53),
    )
    save(store, reserved(wanted=WantedEndpoint(A), ports=ports))
    found = store.endpoints.port_holder(protocol, host_ip, first, last)
    assert (found is not None) == taken
    if found is not None:
        assert found.container_id == WEB
        assert found.first <= last
        assert found.last >= first


HOST_IPS = ("0.0.0.0", "127.0.0.1", "10.1.1.1", "::", "::1", "fd00::1")


def meet(one, other):
    """Whether two ports cannot both be had."""
    same_family = (":" in one.host_ip) == (":" in other.host_ip)
    every = {one.host_ip, other.host_ip} & {"0.0.0.0", "::"}
    return (
        one.protocol == other.protocol
        and same_family
        and (one.host_ip == other.host_ip or bool(every))
        and one.host_port < other.host_port + other.count
        and other.host_port < one.host_port + one.count
    )


@given(
    st.lists(
        st.builds(
            Port,
            st.sampled_from(["tcp", "udp"]),
            st.sampled_from(HOST_IPS),
            st.integers(1, 40),
            st.just("10.0.0.2"),
            st.just(80),
            st.integers(1, 12),
        ),
        max_size=25,
    )
)
def test_ports_that_meet_are_found_and_no_others(tmp_path_factory, wanted):
    from runengine.paths import Paths

    base = tmp_path_factory.mktemp("ports")
    store = Store.open(Paths(str(base / "root"), str(base / "state")))
    store.containers.add(
        Record(
            WEB, "web", "sha256:0", "2026", container_config("x"), host_config(), {}, [],
            created_state(),
        )
    )
    have: list[Any] = []
    with store.database.write():
        for port in wanted:
            last = port.host_port + port.count - 1
            found = store.endpoints.port_holder(port.protocol, port.host_ip, port.host_port, last)
            assert (found is not None) == any(meet(port, other) for other in have)
            if found is None:
                store.endpoints.add_ports(WEB, A, [port])
                have.append(port)
    store.close()


def test_ports_move_to_another_network(store):
    ports = (
        Port("tcp", "0.0.0.0", 80, "10.0.0.2", 80),
        Port("tcp", "::", 80, "fd00::2", 80),
    )
    source = reserved(ip="10.0.0.2", ip6="fd00::2", wanted=WantedEndpoint(A), ports=ports)
    target = reserved(net=C, ip="10.9.0.2", wanted=WantedEndpoint(C))
    save(store, source)
    save(store, target)
    store.endpoints.move_ports(source, target)
    # What the other network has no address for stays until the endpoint is released.
    assert [one.ports for one in store.endpoints.of(WEB)] == [
        (ports[1],), (Port("tcp", "0.0.0.0", 80, "10.9.0.2", 80),)
    ]
