"""From PortBindings to the ports of a run, and where they lead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import InvalidParameter
from runengine.mgr.network import port_wishes, routes
from runengine.model import container_config, host_config
from runengine.store.network_types import Network, Pool, ReservedEndpoint, WantedEndpoint
from runengine.store.network_types import WantedPort as Port
from tests.support.documents import changed


def wanted(bindings: dict[str, list[dict[str, str]]], *exposed: str, every: bool = False):
    config = changed(container_config("x"), {"ExposedPorts": {port: {} for port in exposed}})
    host = changed(host_config(), {"PortBindings": bindings, "PublishAllPorts": every})
    return list(port_wishes.wanted(config, host))


def at(port: str, ip: str = "") -> dict[str, str]:
    return {"HostIp": ip, "HostPort": port}


def test_each_binding_is_a_wish():
    assert wanted({"80/tcp": [at("8080"), at("", "127.0.0.1")], "53/udp": [at("5300-5400")]}) == [
        Port(80, "tcp", "", 8080),
        Port(80, "tcp", "127.0.0.1", 0),
        Port(53, "udp", "", 5300, 5400),
    ]


def test_a_port_without_a_binding_is_bound_anywhere():
    assert wanted({"80/tcp": []}) == [Port(80)]


@given(st.integers(1, 3000), st.integers(1, 60000), st.integers(1, 60000))
def test_a_row_of_ports_is_one_wish(count: int, container: int, host: int):
    container, host = min(container, 65536 - count), min(host, 65536 - count)
    bindings = {f"{container + n}/tcp": [at(str(host + n))] for n in range(count)}
    assert wanted(bindings) == [Port(container, "tcp", "", host, count=count)]


def test_what_does_not_go_in_step_stays_apart():
    bindings = {
        "80/tcp": [at("8080")],
        "81/tcp": [at("9081")],
        "82/udp": [at("9082")],
        "83/tcp": [at("9083", "127.0.0.1")],
    }
    assert sum(wish.count for wish in wanted(bindings)) == 4
    assert len(wanted(bindings)) == 4


def test_publish_all_takes_what_is_exposed_and_not_bound():
    found = wanted({"80/tcp": [at("8080")]}, "80/tcp", "443/tcp", "53/udp", every=True)
    assert sorted(found) == sorted([Port(80, "tcp", "", 8080), Port(443), Port(53, "udp")])
    assert wanted({}, "443/tcp") == []


@pytest.mark.parametrize(
    "bindings",
    [
        {"80/icmp": [at("80")]},
        {"x": [at("80")]},
        {"0/tcp": [at("80")]},
        {"65536/tcp": [at("80")]},
        {"80/tcp": [at("65536")]},
        {"80/tcp": [at("90-80")]},
        {"80/tcp": [at("x")]},
        {"80/tcp": [at("80", "localhost")]},
    ],
)
def test_bad_bindings(bindings):
    with pytest.raises(InvalidParameter):
        wanted(bindings)


# Which network the default routes and the ports go through


def endpoint(name: str, *, priority: int = 0, gateway: str = "10.0.0.1", gateway6: str = ""):
    return ReservedEndpoint(
        "c", f"id-{name}", name, "bridge", "e", "eth0", "br0", gateway=gateway, gateway6=gateway6,
        wanted=WantedEndpoint(f"id-{name}", name, gw_priority=priority),
    )


@pytest.mark.parametrize(
    ("endpoints", "chosen"),
    [
        ([endpoint("b"), endpoint("a")], "a"),
        ([endpoint("a"), endpoint("b", priority=1)], "b"),
        ([endpoint("a", priority=-1), endpoint("b")], "b"),
        ([endpoint("a", gateway=""), endpoint("b")], "b"),
    ],
)
def test_the_default_route(endpoints, chosen):
    found = routes.gateway_of(endpoints, 4)
    assert found is not None
    assert found.network_name == chosen
    assert [one.network_name for one in endpoints if routes.gateways(endpoints, one)] == [chosen]


def test_each_family_has_a_default_route_of_its_own():
    only_four = endpoint("a")
    both = endpoint("b", gateway="10.1.0.1", gateway6="fd00::1")
    assert routes.gateways([only_four, both], only_four) == ("10.0.0.1",)
    assert routes.gateways([only_four, both], both) == ("fd00::1",)
    assert routes.gateway_of([only_four], 6) is None


def network(name: str, *, driver: str = "bridge", internal: bool = False) -> Network:
    pools = (Pool("10.0.0.0/24", "10.0.0.1"),)
    return Network(f"id-{name}", name, driver, "br0", "", pools, internal=internal)


def test_ports_go_where_the_default_route_goes():
    networks = [network("a", internal=True), network("b", driver="macvlan"), network("d"),
                network("c")]
    wishes = [WantedEndpoint(one.id, one.name) for one in networks]
    assert routes.publishing(wishes, networks) == "id-c"
    wishes[2] = wishes[2]._replace(gw_priority=5)
    assert routes.publishing(wishes, networks) == "id-d"
    assert routes.publishing(wishes[:2], networks[:2]) is None
