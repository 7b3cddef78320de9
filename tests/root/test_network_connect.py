"""``network connect`` and ``disconnect``, on running and on stopped containers (rows M)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.capabilities import needs
from tests.support.net_engines import HOST_IP, HOST_IP6, SUBNET, SUBNET6

if TYPE_CHECKING:
    from tests.support.net_engines import NetEngine

pytestmark = [pytest.mark.root, needs("runc", "busybox")]
both = pytest.mark.ways("cold", "warm")


@pytest.fixture
def two(net: NetEngine) -> NetEngine:
    """Networks ``one`` (both families) and ``two``."""
    net.network("one", "--subnet", SUBNET, "--ipv6", "--subnet", SUBNET6)
    net.network("two", "--subnet", "10.78.0.0/24")
    return net


def refused(net: NetEngine, *words: str) -> str:
    done = net.cli.call("network", *words)
    assert done.code == 1, done
    return str(done.err)


def interfaces(net: NetEngine, name: str) -> list[str]:
    return [one for one in net.sh(name, "ls /sys/class/net").split() if one != "lo"]


@both
def test_connect_and_disconnect_while_it_runs(two: NetEngine):  # M-01, M-02
    two.web("web", "--network", "one")
    two.cli.ok("network", "connect", "--alias", "front", "two", "web")
    assert interfaces(two, "web") == ["eth0", "eth1"]
    address = two.cli.address_of("web", "two")
    assert two.once("--network", "two", script="wget -qO- http://front/") == "web"
    assert f"{address}\tweb" in two.sh("web", "cat /etc/hosts")
    assert two.sh("web", "cat /etc/resolv.conf").splitlines()[:2] == [
        "nameserver 10.77.0.1", "nameserver 10.78.0.1"
    ]
    two.cli.ok("network", "disconnect", "two", "web")
    assert interfaces(two, "web") == ["eth0"]
    assert address not in two.sh("web", "cat /etc/hosts /etc/resolv.conf; ip route")
    assert "two" not in two.settings("web")["Networks"]
    assert two.cli.call(
        "run", "--rm", "--network", "two", "busybox", "ping", "-c1", "web"
    ).code
    two.cli.ok("network", "rm", "two")


def test_connections_last_over_restarts(two: NetEngine):  # M-03, M-04
    two.run("web", "--network", "one")
    two.cli.ok("network", "connect", "--ip", "10.78.0.9", "two", "web")
    two.cli.ok("network", "disconnect", "one", "web")
    two.cli.ok("restart", "-t", "0", "web")
    assert interfaces(two, "web") == ["eth0"]
    assert two.cli.address_of("web", "two") == "10.78.0.9"
    two.cli.ok("stop", "-t", "0", "web")
    two.cli.ok("network", "connect", "one", "web")
    two.cli.ok("network", "disconnect", "two", "web")
    two.cli.ok("start", "web")
    assert set(two.settings("web")["Networks"]) == {"one"}
    assert two.cli.address_of("web", "one").startswith("10.77.0.")


def test_the_last_network_and_back(two: NetEngine):  # M-02
    two.web("web", "--network", "one", "-p", "8080:80")
    two.cli.ok("network", "disconnect", "one", "web")
    assert interfaces(two, "web") == []
    assert not two.gets(f"http://{HOST_IP}:8080/")
    two.cli.ok("restart", "-t", "0", "web")
    assert interfaces(two, "web") == []
    two.cli.ok("network", "connect", "two", "web")
    assert two.get(f"http://{HOST_IP}:8080/") == "web"
    two.cli.ok("restart", "-t", "0", "web")
    assert two.get(f"http://{HOST_IP}:8080/") == "web"


def test_ports_follow_the_default_route(two: NetEngine):
    two.web("web", "--network", "one", "-p", "80")
    number = two.settings("web")["Ports"]["80/tcp"][0]["HostPort"]
    two.cli.ok("network", "connect", "two", "web")
    assert two.get(f"http://[{HOST_IP6}]:{number}/") == "web"
    two.cli.ok("network", "disconnect", "one", "web")
    assert two.sh("web", "ip route").splitlines()[0].split()[2] == "10.78.0.1"
    assert two.get(f"http://{HOST_IP}:{number}/") == "web"
    assert two.settings("web")["Ports"]["80/tcp"] == [
        {"HostIp": "0.0.0.0", "HostPort": number}  # the new network has no IPv6
    ]
    assert not two.gets(f"http://[{HOST_IP6}]:{number}/")


def test_a_higher_priority_takes_the_default_route(two: NetEngine):
    two.web("web", "--network", "one", "-p", "8080:80")
    two.cli.ok("network", "connect", "--gw-priority", "5", "two", "web")
    assert two.sh("web", "ip route").splitlines()[0].split()[2] == "10.78.0.1"
    assert two.get(f"http://{HOST_IP}:8080/") == "web"
    two.cli.ok("network", "disconnect", "two", "web")
    assert two.sh("web", "ip route").splitlines()[0].split()[2] == "10.77.0.1"
    assert two.get(f"http://{HOST_IP}:8080/") == "web"


def test_a_paused_container_is_a_running_one(two: NetEngine):  # M-01
    two.run("web", "--network", "one")
    two.cli.ok("pause", "web")
    two.cli.ok("network", "connect", "two", "web")
    two.cli.ok("unpause", "web")
    assert interfaces(two, "web") == ["eth0", "eth1"]


def test_what_a_container_wrote_into_its_files_stays(two: NetEngine):
    two.run("web", "--network", "one")
    two.sh("web", "echo 10.1.1.1 mine >>/etc/hosts; echo options debug >>/etc/resolv.conf")
    two.cli.ok("network", "connect", "two", "web")
    hosts = two.sh("web", "cat /etc/hosts")
    assert "10.1.1.1 mine" in hosts
    assert two.cli.address_of("web", "two") in hosts
    resolver = two.sh("web", "cat /etc/resolv.conf")
    assert "options debug" in resolver
    assert "10.78.0.1" not in resolver


def test_what_cannot_be_connected(two: NetEngine):
    two.run("web", "--network", "one")
    two.run("joined", "--network", "container:web")
    two.run("alone", "--network", "none")
    two.run("hosts-own", "--network", "host")
    before = two.state_of_host()
    for words, complaint in (
        (("connect", "one", "web"), "endpoint with name web already exists in network one"),
        (("connect", "two", "joined"), "sharing network namespace with another container or host"),
        (("connect", "two", "hosts-own"), "sharing network namespace"),
        (("connect", "two", "alone"), "private (none) mode"),
        (("connect", "host", "web"), "host network"),
        (("connect", "none", "web"), "network none"),
        (("disconnect", "host", "hosts-own"), "cannot be disconnected from host network"),
        (("disconnect", "two", "web"), "container web is not connected to network two"),
        (("connect", "nosuch", "web"), "network nosuch not found"),
        (("connect", "two", "nosuch"), "No such container: nosuch"),
        (("connect", "--ip", "10.99.0.1", "two", "web"), "10.99.0.1"),
        (("connect", "--ip", "172.17.0.9", "bridge", "web"), "user defined networks only"),
        (("connect", "--alias", "x", "bridge", "web"), "user-defined networks"),
    ):
        assert complaint in refused(two, *words), words
    assert two.state_of_host() == before
    assert interfaces(two, "web") == ["eth0"]


def test_an_address_that_is_taken_leaves_the_container_as_it_was(two: NetEngine):
    two.run("first", "--network", "two:10.78.0.9")
    two.run("web", "--network", "one")
    before = two.state_of_host()
    assert "first" in refused(two, "connect", "--ip", "10.78.0.9", "two", "web")
    assert two.state_of_host() == before
    assert set(two.settings("web")["Networks"]) == {"one"}
    two.cli.ok("network", "connect", "two", "web")


def test_a_network_that_is_gone(two: NetEngine):
    two.run("web", "--network", "one")
    assert "has active endpoints" in refused(two, "rm", "one")
    two.cli.ok("network", "connect", "two", "web")
    two.cli.ok("stop", "-t", "0", "web")
    two.cli.ok("network", "rm", "two")
    done = two.cli.call("start", "web")
    assert (done.code, "network two not found" in done.err) == (1, True)
    two.cli.ok("network", "disconnect", "two", "web")
    two.cli.ok("start", "web")
    two.cli.ok("stop", "-t", "0", "web")
    # Made anew it is the one that the container is to be on.
    two.cli.ok("network", "rm", "one")
    two.network("one", "--subnet", "10.70.0.0/24")
    two.cli.ok("start", "web")
    assert two.cli.address_of("web", "one").startswith("10.70.0.")
