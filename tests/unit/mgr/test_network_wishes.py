"""What a container is to have of networks: checked at create, shown by inspect."""

from __future__ import annotations

import pytest

from runengine.errors import Conflict, EngineError, InvalidParameter, NotFound
from runengine.mgr.network import links, settings, wishes
from runengine.mgr.network.request import network_config
from runengine.model import container_config, endpoint_config, host_config
from runengine.store.network_types import WantedPort
from tests.support.documents import changed


@pytest.fixture
def engine(context, networks):
    """An engine with the networks ``mine`` (a subnet of the user's) and ``plain``."""
    config = network_config()
    config["IPAM"] = [
        {
            "Subnet": "10.77.0.0/24",
            "Gateway": "10.77.0.1",
            "AuxiliaryAddresses": {"printer": "10.77.0.7"},
        }
    ]
    networks.create("mine", config)
    networks.create("plain", network_config())
    return context._replace(networks=networks)


def check(engine, mode="", endpoints=None, *, config=None, **host):
    return wishes.check(
        engine,
        changed(container_config("x"), config or {}),
        changed(host_config(), {"NetworkMode": mode, **host}),
        endpoints or {},
    )


def endpoint(**fields):
    return changed(endpoint_config(), fields)


@pytest.mark.parametrize("mode", ["", "default", "bridge"])
def test_the_default_network(engine, mode):
    found = check(engine, mode)
    assert found.mode == "bridge"
    assert [one.network_name for one in found.wanted] == ["bridge"]


def test_the_default_network_is_the_operators_choice(engine):
    chosen = engine._replace(config=engine.config._replace(default_network="none"))
    assert check(chosen) == ("none", [])
    chosen = engine._replace(config=engine.config._replace(default_network="mine"))
    assert check(chosen).mode == "mine"


def test_an_id_stands_for_the_name(engine):
    found = check(engine, engine.networks.get("mine").id[:9])
    assert found.mode == "mine"
    assert found.wanted[0].network == engine.networks.get("mine").id


def test_the_modes_network_comes_first(engine):
    found = check(engine, "plain", {"mine": endpoint(), "plain": endpoint(Aliases=["a"])})
    assert [one.network_name for one in found.wanted] == ["plain", "mine"]
    assert found.wanted[0].aliases == ("a",)


@pytest.mark.parametrize("mode", ["none", "host", "container:x", "netns:/run/netns/x"])
def test_modes_without_a_network_of_the_engines(engine, mode):
    assert check(engine, mode, {mode: endpoint()}) == (mode, [])
    with pytest.raises(InvalidParameter, match="at once"):
        check(engine, mode, {mode: endpoint(), "mine": endpoint()})


def test_builtin_networks_by_id_are_their_modes(engine):
    assert check(engine, engine.networks.get("host").id) == ("host", [])
    assert check(engine, engine.networks.get("none").id) == ("none", [])


@pytest.mark.parametrize(
    ("mode", "fields", "kind", "complaint"),
    [
        ("nosuch", {}, NotFound, "network nosuch not found"),
        ("container:", {}, InvalidParameter, "what to join is missing"),
        ("netns:relative", {}, InvalidParameter, "netns:relative"),
        ("bridge", {"IPAMConfig": {"IPv4Address": "172.17.0.9"}}, InvalidParameter, "user def"),
        ("bridge", {"Aliases": ["a"]}, InvalidParameter, "user-defined networks"),
        ("plain", {"IPAMConfig": {"IPv4Address": "172.18.0.9"}}, InvalidParameter, "subnet"),
        ("mine", {"IPAMConfig": {"IPv4Address": "10.78.0.9"}}, InvalidParameter, "10.78.0.9"),
        ("mine", {"IPAMConfig": {"IPv4Address": "10.77.0.1"}}, InvalidParameter, "gateway"),
        ("mine", {"IPAMConfig": {"IPv4Address": "10.77.0.7"}}, InvalidParameter, "printer"),
        ("mine", {"IPAMConfig": {"IPv6Address": "fd00::1"}}, InvalidParameter, "IPv6"),
        ("mine", {"MacAddress": "01:00:5e:00:00:01"}, InvalidParameter, "MAC"),
    ],
)
def test_what_cannot_be_had(engine, mode, fields, kind, complaint):
    with pytest.raises(kind) as caught:
        check(engine, mode, {mode: endpoint(**fields)} if fields else {})
    assert complaint.lower() in str(caught.value).lower()


def test_a_network_once(engine):
    with pytest.raises(InvalidParameter, match="multiple times"):
        check(engine, "mine", {"mine": endpoint(), engine.networks.get("mine").id: endpoint()})
    with pytest.raises(InvalidParameter, match="goes with no other"):
        check(engine, "mine", {"mine": endpoint(), "host": endpoint()})


def test_bad_ports_are_refused_at_create(engine):
    with pytest.raises(InvalidParameter, match="invalid port"):
        check(engine, "mine", PortBindings={"80/icmp": []})


def test_a_wish_is_shown_as_it_was_made(engine):
    wanted = endpoint(
        IPAMConfig={"IPv4Address": "10.77.0.9", "LinkLocalIPs": ["169.254.1.1"]},
        Links=["db:store"], Aliases=["a"], MacAddress="92:d0:c6:0a:29:33",
        DriverOpts={"com.docker.network.endpoint.ifname": "lan0"}, GwPriority=-3,
    )  # fmt: skip
    assert wishes.document(check(engine, "mine", {"mine": wanted}).wanted[0]) == wanted
    assert wishes.document(check(engine, "mine").wanted[0]) == endpoint()


# Shown


def connected(engine, add, name, mode="mine", **host):
    """A container with its endpoint reserved."""
    record = add(name, host={"NetworkMode": mode, **host}, details={"hostname": f"h-{name}"})
    wanted = check(engine, mode, **host).wanted
    ports = (WantedPort(80, "tcp", "", 8080, count=2),)
    return record, engine.networks.reserve(record.id, [wanted[0]._replace(ports=ports)])


def test_settings_of_a_running_container(engine, add):
    record, (reserved,) = connected(engine, add, "web")
    record.config["ExposedPorts"] = {"443/tcp": {}, "80/tcp": {}}
    record.state["Pid"] = 7
    found = settings.network_settings(engine, record, record.state, live=True)
    assert found["SandboxKey"] == "/proc/7/ns/net"
    assert found["Ports"] == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}],
        "81/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8081"}],
        "443/tcp": None,
    }
    one = found["Networks"]["mine"]
    assert (one["IPAddress"], one["MacAddress"]) == (reserved.ip, reserved.mac)
    assert one["DNSNames"] == ["web", record.id[:12]]
    assert found["IPAddress"] == ""  # that is the default network's
    ended = settings.network_settings(engine, record, record.state, live=False)
    assert (ended["Ports"], ended["Networks"]["mine"]["IPAddress"]) == ({}, "")


def test_settings_of_a_container_on_none(engine, add):
    record = add("alone")
    found = settings.network_settings(engine, record, record.state, live=True)
    assert list(found["Networks"]) == ["none"]
    assert found["Networks"]["none"]["NetworkID"] == engine.networks.get("none").id


def test_listed_ports(engine, add):
    record, (reserved,) = connected(engine, add, "web")
    assert settings.listed_ports(record, reserved.ports) == [
        {"IP": "0.0.0.0", "PrivatePort": number, "PublicPort": number + 8000, "Type": "tcp"}
        for number in (80, 81)
    ]


# Links on the default network


def test_variables_of_a_link(engine, add):
    target, (reserved,) = connected(engine, add, "db", "bridge")
    target.config["Env"] = ["PW=x", "PATH=/bin", "HOME=/root"]
    target.config["ExposedPorts"] = {"53/udp": {}, "5432/tcp": {}}
    engine.store.containers.remove(target.id)
    engine.store.containers.add(target)
    wish = check(engine, "bridge").wanted
    (reserved,) = engine.networks.reserve(target.id, wish)
    record = add("web", host={"NetworkMode": "bridge", "Links": ["db:my-db"]})
    record.config["Env"] = ["MY_DB_NAME=mine"]
    found = links.environment(engine, record)
    assert found[0] == f"MY_DB_PORT=tcp://{reserved.ip}:5432"
    assert f"MY_DB_PORT_53_UDP=udp://{reserved.ip}:53" in found
    assert "MY_DB_ENV_PW=x" in found
    assert not [text for text in found if text.startswith(("MY_DB_ENV_PATH", "MY_DB_NAME"))]


def test_a_link_to_what_does_not_run(engine, add):
    add("db", host={"NetworkMode": "bridge"}, details={"hostname": "h"})
    record = add("web", host={"NetworkMode": "bridge", "Links": ["db:db"]})
    with pytest.raises(Conflict, match="Cannot link to a non running container: /db AS /web/db"):
        links.resolve(engine, record)
    with pytest.raises(EngineError, match="could not get container for nosuch"):
        check(engine, "bridge", Links=["nosuch:x"])
