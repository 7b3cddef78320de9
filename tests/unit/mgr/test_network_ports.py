"""Host ports: those that are wished, those that are free, and who has them."""

from __future__ import annotations

import pytest

from runengine.errors import Conflict, InvalidParameter
from runengine.netns.types import Published
from runengine.store.network_types import WantedEndpoint, WantedPort
from tests.support.network_host import Socket


@pytest.fixture
def net(create):
    """A network with IPv4 only."""
    return create(IPAM=[{"Subnet": "10.1.0.0/24"}])


def ports_of(endpoint):
    return [(one.protocol, one.host_ip, one.host_port, one.count) for one in endpoint.ports]


def test_fixed_ports_of_both_families(networks, create, add):
    create(IPAM=[{"Subnet": "10.1.0.0/24"}, {"Subnet": "fd00:1::/64"}])
    web = add("web")
    wish = WantedEndpoint(
        "net",
        ports=(
            WantedPort(80, host_port=8080),
            WantedPort(53, "udp", "127.0.0.1", 5353),
            WantedPort(9000, "tcp", "::", 9000, count=3),
        ),
    )
    networks.reserve(web.id, [wish])
    assert networks.published_of(web.id) == [
        Published("tcp", "0.0.0.0", 8080, "10.1.0.2", 80),
        Published("tcp", "::", 8080, "fd00:1::2", 80),
        Published("tcp", "::", 9000, "fd00:1::2", 9000, 3),
        Published("udp", "127.0.0.1", 5353, "10.1.0.2", 53),
    ]
    networks.release(web.id)
    assert networks.published_of(web.id) == []


def test_a_network_may_bind_to_one_address(networks, create, add):
    create(Options={"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"})
    wish = WantedEndpoint(
        "net", ports=(WantedPort(80, host_port=8080), WantedPort(81, "tcp", "0.0.0.0", 8081))
    )
    one = networks.reserve(add("web").id, [wish])[0]
    assert ports_of(one) == [("tcp", "127.0.0.1", 8080, 1), ("tcp", "0.0.0.0", 8081, 1)]


@pytest.fixture
def dual(create):
    """A network of both families."""
    return create(IPAM=[{"Subnet": "10.1.0.0/24"}, {"Subnet": "fd00:1::/64"}])


def published(networks, addresses, record, *wishes):
    context = networks._context
    networks._context = context._replace(
        config=context.config._replace(publish_addresses=addresses)
    )
    return ports_of(networks.reserve(record.id, [WantedEndpoint("net", ports=wishes)])[0])


def test_the_settings_say_where_ports_go_that_name_no_address(networks, dual, add):
    found = published(
        networks,
        ("127.0.0.1", "::1"),
        add("web"),
        WantedPort(80, host_port=8080),
        WantedPort(81, "tcp", "0.0.0.0", 8081),
    )
    assert found == [
        ("tcp", "127.0.0.1", 8080, 1),
        ("tcp", "::1", 8080, 1),
        ("tcp", "0.0.0.0", 8081, 1),
    ]


def test_a_family_that_the_settings_leave_out_is_not_published(networks, dual, add):
    found = published(networks, ("127.0.0.1",), add("web"), WantedPort(80, host_port=8080))
    assert found == [("tcp", "127.0.0.1", 8080, 1)]


def test_a_networks_own_address_goes_before_the_settings(networks, create, add, host):
    host.addresses.add("192.0.2.9")
    create(Options={"com.docker.network.bridge.host_binding_ipv4": "192.0.2.9"})
    found = published(networks, ("127.0.0.1",), add("web"), WantedPort(80, host_port=8080))
    assert found == [("tcp", "192.0.2.9", 8080, 1)]


@pytest.mark.parametrize(
    ("addresses", "message"),
    [
        (("::1",), r"port 80/tcp would be published nowhere: publish_addresses has no address"),
        (("192.0.2.77",), r"at 192\.0\.2\.77: the host has no such address .*publish_addresses"),
    ],
)
def test_settings_that_lead_nowhere_are_refused(networks, net, add, addresses, message):
    with pytest.raises(InvalidParameter, match=message):
        published(networks, addresses, add("web"), WantedPort(80, host_port=8080))


def test_free_ports_are_chosen_apart(networks, net, add):
    wish = WantedEndpoint("net", ports=tuple(WantedPort(port) for port in range(1, 41)))
    one = networks.reserve(add("web").id, [wish])[0]
    chosen = [port.host_port for port in one.ports]
    assert len(set(chosen)) == 40
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        first, last = map(int, file.read().split())
    assert all(first <= port <= last for port in chosen)


def test_one_of_a_range_is_chosen_from_its_start(networks, net, add, host, ended):
    host.sockets = [Socket("tcp", 8001), Socket("udp", 8000)]
    wish = WantedEndpoint("net", ports=(WantedPort(80, "tcp", "", 8000, 8003),))
    found, records = [], []
    for number in range(3):
        records.append(add(f"c{number}"))
        found.append(networks.reserve(records[-1].id, [wish])[0].ports[0].host_port)
    assert found == [8000, 8002, 8003]
    late = add("late")
    with pytest.raises(Conflict, match=r"Bind for 0.0.0.0:8000-8003 failed: all ports are"):
        networks.reserve(late.id, [wish])
    ended.add(records[1].id)
    assert networks.reserve(late.id, [wish])[0].ports[0].host_port == 8002


def test_a_taken_port_names_who_has_it(networks, net, add, ended):
    web, late = add("web"), add("late")
    networks.reserve(web.id, [WantedEndpoint("net", ports=(WantedPort(80, host_port=8080),))])
    message = rf"already allocated: container web \({web.id[:12]}\) has 0.0.0.0:8080$"
    for port in (
        WantedPort(1, host_port=8080),
        WantedPort(1, "tcp", "127.0.0.1", 8080),
        WantedPort(1, host_port=8079, count=3),
    ):
        with pytest.raises(Conflict, match=message):
            networks.reserve(late.id, [WantedEndpoint("net", ports=(port,))])
    assert networks.endpoints_of(late.id) == []
    networks.reserve(late.id, [WantedEndpoint("net", ports=(WantedPort(1, "udp", "", 8080),))])
    ended.add(web.id)
    wish = WantedEndpoint("net", ports=(WantedPort(1, host_port=8079, count=3),))
    assert ports_of(networks.reserve(late.id, [wish])[0]) == [("tcp", "0.0.0.0", 8079, 3)]


def test_a_port_that_a_program_listens_on_is_refused(networks, net, add, host):
    host.sockets = [Socket("tcp", 8081)]
    web = add("web")
    message = r"Bind for 0.0.0.0:8080-8082 failed: .*nginx \(pid 7\) listens on 0.0.0.0:8081/tcp"
    with pytest.raises(Conflict, match=message):
        networks.reserve(
            web.id, [WantedEndpoint("net", ports=(WantedPort(1, host_port=8080, count=3),))]
        )
    assert networks.reserve(
        web.id, [WantedEndpoint("net", ports=(WantedPort(1, "udp", "", 8081),))]
    )


def test_one_container_does_not_want_a_port_twice(networks, net, add):
    wish = WantedEndpoint(
        "net",
        ports=(WantedPort(1, host_port=8080), WantedPort(2, "tcp", "127.0.0.1", 8080)),
    )
    with pytest.raises(InvalidParameter, match=r"port 8080/tcp .* is wanted twice"):
        networks.reserve(add("web").id, [wish])


@pytest.mark.parametrize(
    ("port", "message"),
    [
        (
            WantedPort(80, "tcp", "::", 80),
            r"cannot publish 80/tcp at \[::\]:80: .* no IPv6 address on network net .*--ipv6",
        ),
        (
            WantedPort(80, "tcp", "203.0.113.9", 80),
            "cannot publish 80/tcp at 203.0.113.9:80: the host has no such address",
        ),
    ],
)
def test_addresses_that_nobody_can_reach_are_refused(networks, net, add, port, message):
    with pytest.raises(InvalidParameter, match=message):
        networks.reserve(add("web").id, [WantedEndpoint("net", ports=(port,))])


def test_a_port_lost_to_another_at_the_last_moment_is_chosen_again(
    networks, net, add, context, monkeypatch
):
    from runengine.mgr.network import host_ports

    web, late = add("web"), add("late")
    networks.reserve(web.id, [WantedEndpoint("net", ports=(WantedPort(80, host_port=40000),))])
    order = [40000, 40001]
    seen = []

    def candidates(_):
        seen.append(1)
        yield order[len(seen) - 1]

    monkeypatch.setattr(host_ports, "_candidates", candidates)
    monkeypatch.setattr(host_ports.Chooser, "_holder", lambda *_: None)
    wish = WantedEndpoint("net", ports=(WantedPort(80),))
    assert networks.reserve(late.id, [wish])[0].ports[0].host_port == 40001


def test_released_ports_are_taken_back_from_the_firewall(networks, net, add, host):
    for name, port in (("stays", 8080), ("goes", 8081)):
        wish = WantedEndpoint("net", ports=(WantedPort(80, host_port=port),))
        one = add(name)
        networks.reserve(one.id, [wish])
        networks.publish(networks.published_of(one.id))
    assert {entry.host_port for entry in host.published} == {8080, 8081}
    networks.release(one.id)
    assert {entry.host_port for entry in host.published} == {8080}


def test_a_table_that_is_written_anew_has_what_is_recorded(networks, net, add, host):
    for name, port in (("first", 8080), ("second", 8081)):
        one = add(name)
        networks.reserve(one.id, [WantedEndpoint("net", ports=(WantedPort(80, host_port=port),))])
    host.table = None
    networks.publish(networks.published_of(one.id))
    assert {entry.host_port for entry in host.published} == {8080, 8081}
