"""Containers on networks, for real: addresses, ports, names, routes, and what inspect says."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.capabilities import needs
from tests.support.net_engines import (
    CLIENT_IP,
    CLIENT_IP6,
    HOST_IP,
    HOST_IP6,
    SUBNET,
    SUBNET6,
)
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from tests.support.net_engines import NetEngine

pytestmark = [pytest.mark.root, needs("runc", "busybox")]
DUAL = ("--subnet", SUBNET, "--ipv6", "--subnet", SUBNET6)
both = pytest.mark.ways("cold", "warm")

# The keys of Docker 28's inspect.
ENDPOINT_KEYS = {
    "IPAMConfig", "Links", "Aliases", "MacAddress", "DriverOpts", "GwPriority", "NetworkID",
    "EndpointID", "Gateway", "IPAddress", "IPPrefixLen", "IPv6Gateway", "GlobalIPv6Address",
    "GlobalIPv6PrefixLen", "DNSNames",
}  # fmt: skip
SETTINGS_KEYS = {
    "Bridge", "SandboxID", "SandboxKey", "Ports", "HairpinMode", "LinkLocalIPv6Address",
    "LinkLocalIPv6PrefixLen", "SecondaryIPAddresses", "SecondaryIPv6Addresses", "EndpointID",
    "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen",
    "IPv6Gateway", "MacAddress", "Networks",
}  # fmt: skip


# The default network


@both
def test_a_container_is_on_the_default_network(net: NetEngine):
    net.run("web")
    found = net.settings("web")
    address, gateway = found["IPAddress"], found["Gateway"]
    assert net.sh("web", "ip -4 -o address show eth0").split()[3] == f"{address}/16"
    assert net.sh("web", "ip route").splitlines()[0] == f"default via {gateway} dev eth0 "
    assert f"{address}\t" in net.sh("web", "cat /etc/hosts")
    assert net.cli.ok("ps", "--format", "{{.Networks}}") == "bridge"
    assert net.cli.ok("ps", "-q", "--filter", "network=bridge")
    assert net.cli.ok("ps", "-q", "--filter", "network=none") == ""


def test_the_world_outside_sees_the_host(net: NetEngine):
    listen = "import socket; s = socket.create_server(('', 7777)); print(s.accept()[1][0])"
    with net.client.begin(
        sys.executable, "-I", "-S", "-c", listen, stdout=subprocess.PIPE
    ) as server:
        net.once(script=f"for n in 1 2 3 4 5 6 7 8; do nc {CLIENT_IP} 7777 </dev/null && exit; "
                        "sleep 0.5; done; exit 1")  # fmt: skip
        assert server.stdout is not None
        assert server.stdout.read().decode().strip() == HOST_IP


def test_what_a_run_had_is_given_back(net: NetEngine):
    net.once(script="true")  # the network is up from now on
    wait_for(lambda: not net.links_of_containers())
    before = net.state_of_host()
    net.run("web", "-p", "8080:80")
    address = net.settings("web")["IPAddress"]
    assert net.state_of_host() != before
    net.cli.ok("stop", "-t", "0", "web")
    assert net.state_of_host() == before
    found = net.settings("web")
    assert (found["IPAddress"], found["Ports"], found["SandboxKey"]) == ("", {}, "")
    net.run("next", "-p", "8080:80")  # the port is free
    assert net.settings("next")["IPAddress"] != address  # the address rests for a while
    net.cli.ok("start", "next")  # and what runs is left alone
    net.cli.ok("rm", "-f", "next", "web")
    assert net.state_of_host() == before


# Ports


@both
def test_a_published_port_from_everywhere(net: NetEngine):  # O-19
    net.network("mine", *DUAL)
    net.web("web", "--network", "mine", "-p", "8080:80", "-p", "8443:443")
    for where in (HOST_IP, f"[{HOST_IP6}]"):
        assert net.get(f"http://{where}:8080/") == "web"
    for where in (HOST_IP, f"[{HOST_IP6}]", "127.0.0.1", "[::1]", "localhost"):
        assert net.get(f"http://{where}:8080/", by=net.host) == "web"
    for where in (HOST_IP, f"[{HOST_IP6}]"):
        assert net.once(script=f"wget -qO- http://{HOST_IP}:8080/") == "web"
        # From its own network, and from itself.
        flags = ("--network", "mine")
        assert net.once(*flags, script=f"wget -qO- http://{where}:8080/") == "web"
        assert net.sh("web", f"wget -qO- http://{where}:8080/") == "web"
    assert not net.gets(f"http://{HOST_IP}:8443/")  # nobody listens there
    address = net.cli.address_of("web", "mine")
    net.client.ok("ip", "route", "add", SUBNET, "via", HOST_IP)
    try:
        assert not net.gets(f"http://{address}/")  # only by what is published
    finally:
        net.client.ok("ip", "route", "del", SUBNET)


def test_a_port_at_one_address(net: NetEngine):
    net.web("web", "-p", "127.0.0.1:8080:80")
    assert net.get("http://127.0.0.1:8080/", by=net.host) == "web"
    assert not net.gets(f"http://{HOST_IP}:8080/")
    net.web("other", "-p", f"{HOST_IP}:8080:80")
    assert net.get(f"http://{HOST_IP}:8080/") == "other"
    assert net.get("http://127.0.0.1:8080/", by=net.host) == "web"


def test_udp(net: NetEngine):
    net.network("mine", *DUAL)
    net.run("echo", "--network", "mine", "-p", "5353:53/udp")
    inside = ("nsenter", "-t", str(net.cli.pid_of("echo")), "-n", sys.executable, "-I", "-S", "-c")
    answer = (
        "import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(('', 53))\n"
        "while True: s.sendto(*s.recvfrom(99))"
    )
    ask = (
        "import socket, sys\n"
        "kind = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET\n"
        "s = socket.socket(kind, socket.SOCK_DGRAM); s.settimeout(0.5)\n"
        "for _ in range(20):\n"
        "    s.sendto(b'hello', (sys.argv[1], 5353))\n"
        "    try: print(s.recvfrom(99)[0].decode()); break\n"
        "    except OSError: continue\n"
    )
    with net.host.begin(*inside, answer) as server:
        for host, address in (
            (net.client, HOST_IP), (net.client, HOST_IP6), (net.host, "127.0.0.1")
        ):
            assert host.python(ask, address) == "hello"
        server.kill()


def test_ports_of_the_engines_choice(net: NetEngine):
    net.web("web", "-P", "--expose", "80", "--expose", "53/udp", "-p", "443")
    ports = net.settings("web")["Ports"]
    assert set(ports) == {"53/udp", "80/tcp", "443/tcp"}
    number = ports["80/tcp"][0]["HostPort"]
    assert net.get(f"http://{HOST_IP}:{number}/") == "web"
    assert net.cli.ok("port", "web", "80") == f"0.0.0.0:{number}"
    assert f"80/tcp -> 0.0.0.0:{number}" in net.cli.ok("port", "web").splitlines()
    assert net.cli.ok("ps", "-q", "--filter", "publish=80")
    assert net.cli.ok("ps", "-q", "--filter", "publish=81") == ""


def test_exposed_ports_are_shown_without_being_published(net: NetEngine):
    net.run("db", "--expose", "5432")
    assert net.settings("db")["Ports"] == {"5432/tcp": None}
    assert net.cli.ok("ps", "--format", "{{.Ports}}") == "5432/tcp"
    assert net.cli.ok("port", "db") == ""
    done = net.cli.call("port", "db", "5432")
    assert (done.code, done.err) == (1, "Error: No public port '5432/tcp' published for db\n")
    assert net.cli.ok("ps", "-q", "--filter", "expose=5000-6000/tcp")
    assert net.cli.ok("ps", "-q", "--filter", "expose=5000-5400/tcp") == ""


def test_a_large_range_of_ports(net: NetEngine):
    net.run("many", "-p", "20000-22999:10000-12999", command=(
        "sh", "-c", "mkdir -p /www; echo first >/www/index.html; httpd -p 10000 -h /www;"
        " mkdir /end; echo last >/end/index.html; exec httpd -f -p 12999 -h /end"))  # fmt: skip
    assert net.get(f"http://{HOST_IP}:20000/") == "first"
    assert net.get(f"http://{HOST_IP}:22999/") == "last"
    shown = net.cli.ok("ps", "--format", "{{.Ports}}")
    assert shown == "0.0.0.0:20000-22999->10000-12999/tcp"
    done = net.cli.call("run", "--rm", "-p", "22999:80", "busybox", "true")
    assert "Bind for 0.0.0.0:22999 failed: port is already allocated" in done.err
    assert "many" in done.err


def test_a_port_that_is_taken_is_refused_before_anything_is_made(net: NetEngine):
    net.run("web", "-p", "8080:80")
    before = net.state_of_host()
    done = net.cli.call("run", "--name", "late", "-p", "8080:80", "busybox", "true")
    assert done.code == 125
    assert "Bind for 0.0.0.0:8080 failed: port is already allocated" in done.err
    assert "web" in done.err
    assert net.state_of_host() == before
    assert net.cli.state_of("late") == "created"
    net.cli.ok("rm", "-f", "web")
    net.cli.ok("start", "-a", "late")


def test_a_program_that_listens_has_its_port(net: NetEngine):
    listen = "import socket; s = socket.create_server(('', 9090)); print(flush=True); s.accept()"
    with net.host.begin(
        sys.executable, "-I", "-S", "-c", listen, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        done = net.cli.call("run", "--rm", "-p", "9090:80", "busybox", "true")
        program.kill()
    assert "Bind for 0.0.0.0:9090 failed: port is already allocated" in done.err
    assert "python" in done.err


# Names


@both
def test_names_on_a_network_of_the_users(net: NetEngine):
    net.network("mine", *DUAL)
    container_id = net.run("db", "--network", "mine", "--network-alias", "store", "-h", "inside")
    for name in ("db", "store", container_id[:12], "inside"):
        assert "64 bytes from" in net.once("--network", "mine", script=f"ping -4 -c1 {name}")
        assert "64 bytes from" in net.once("--network", "mine", script=f"ping -6 -c1 {name}")
    assert net.settings("db")["Networks"]["mine"]["DNSNames"] == [
        "db", "store", container_id[:12], "inside"
    ]
    # As with Docker, the default network has none.
    assert net.cli.call("run", "--rm", "busybox", "ping", "-c1", "-W1", "db").code
    net.cli.ok("stop", "-t", "0", "db")
    assert net.cli.call("run", "--rm", "--network", "mine", "busybox", "ping", "-c1", "db").code


def test_a_new_name_is_found_at_once(net: NetEngine):
    net.network("mine")
    net.run("old", "--network", "mine")
    net.cli.ok("rename", "old", "new")
    assert "64 bytes from" in net.once("--network", "mine", script="ping -c1 new")
    assert net.cli.call("run", "--rm", "--network", "mine", "busybox", "ping", "-c1", "old").code


def test_a_link_on_a_network_of_the_users_is_a_name_of_one_container(net: NetEngine):
    net.network("mine")
    net.run("db", "--network", "mine")
    net.run("web", "--network", "mine", "--link", "db:store")
    assert "64 bytes from" in net.sh("web", "ping -c1 store")
    assert net.settings("web")["Networks"]["mine"]["Links"] == ["db:store"]
    assert net.cli.call("exec", "db", "ping", "-c1", "store").code


def test_a_link_on_the_default_network(net: NetEngine):
    net.run("db", "-e", "PW=secret", "--expose", "5432")
    net.run("web", "--link", "db:the-store")
    address = net.settings("db")["IPAddress"]
    variables = net.sh("web", "env").splitlines()
    for text in (
        "THE_STORE_NAME=/web/the-store",
        f"THE_STORE_PORT=tcp://{address}:5432",
        f"THE_STORE_PORT_5432_TCP_ADDR={address}",
        "THE_STORE_ENV_PW=secret",
    ):
        assert text in variables
    assert "64 bytes from" in net.sh("web", "ping -c1 the-store")
    shown = net.cli.ok("inspect", "--format", "{{json .HostConfig.Links}}", "web")
    assert shown == '["/db:/web/the-store"]'
    net.run("between")  # takes the next address
    net.cli.ok("restart", "-t", "0", "db")
    assert net.settings("db")["IPAddress"] != address
    assert "64 bytes from" in net.sh("web", "ping -c1 the-store")
    net.cli.ok("stop", "-t", "0", "web", "db")
    done = net.cli.call("start", "web")
    assert "Cannot link to a non running container: /db AS /web/the-store" in done.err


def test_host_gateway_leads_to_the_host(net: NetEngine):
    net.network("mine", *DUAL)
    for flags in ((), ("--network", "mine")):
        script = "ping -4 -c1 up && cat /etc/hosts"
        assert "64 bytes from" in net.once(*flags, "--add-host", "up:host-gateway", script=script)
    done = net.cli.call(
        "run", "--rm", "--network", "none", "--add-host", "up:host-gateway", "busybox", "true"
    )
    assert "no address known for host-gateway" in done.err


def test_dns_flags_go_to_the_resolver_of_the_network(net: NetEngine):  # O-20
    net.network("mine", "--subnet", SUBNET)
    flags = ("--dns", CLIENT_IP, "--dns-search", "corp.example", "--dns-option", "rotate")
    text = net.once("--network", "mine", *flags, script="cat /etc/resolv.conf")
    assert text == "nameserver 10.77.0.1\nsearch corp.example\noptions rotate ndots:0"
    text = net.once(*flags, script="cat /etc/resolv.conf")
    assert text == f"nameserver {CLIENT_IP}\nsearch corp.example\noptions rotate"


# Addresses


def test_addresses_of_the_users_choice(net: NetEngine):
    net.network("mine", *DUAL)
    net.run(
        "web", "--network", "mine", "--ip", "10.77.0.50", "--ip6", "fd77::50",
        "--mac-address", "92:d0:c6:0a:29:33", "--link-local-ip", "169.254.9.9",
    )  # fmt: skip
    found = net.settings("web")["Networks"]["mine"]
    assert (found["IPAddress"], found["GlobalIPv6Address"]) == ("10.77.0.50", "fd77::50")
    assert found["MacAddress"] == "92:d0:c6:0a:29:33"
    assert found["IPAMConfig"] == {
        "IPv4Address": "10.77.0.50", "IPv6Address": "fd77::50", "LinkLocalIPs": ["169.254.9.9"]
    }
    shown = net.sh("web", "ip address show eth0")
    for text in ("92:d0:c6:0a:29:33", "10.77.0.50/24", "fd77::50/64", "169.254.9.9/16"):
        assert text in shown
    done = net.cli.call("run", "--rm", "--network", "mine:10.77.0.50", "busybox", "true")
    assert "10.77.0.50" in done.err
    assert "web" in done.err
    net.cli.ok("restart", "-t", "0", "web")
    assert net.cli.address_of("web", "mine") == "10.77.0.50"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--network", "mine", "--ip", "10.78.0.5"], "10.78.0.5"),
        (["--network", "mine", "--ip", "10.77.0.1"], "gateway"),
        (["--network", "mine", "--ip6", "fd77::5"], "IPv6"),
        (["--ip", "172.17.0.5"], "user defined networks only"),
        (["--network-alias", "x"], "only supported for user-defined networks"),
        (["--network", "mine", "--network", "host"], "at once"),
        (["--network", "nosuch"], "network nosuch not found"),
        (["--network", "mine", "--network", "nosuch"], "network nosuch not found"),
        (["--link", "nosuch"], "could not get container for nosuch"),
        (["--network", "mine", "-p", "[::1]:80:80"], "no IPv6 address"),
        (["--network", "mine", "-p", "192.0.2.77:80:80"], "no such address"),
        (["--network", "mine", "-p", "80:80", "-p", "80:81"], "wanted twice"),
    ],
)
def test_what_cannot_be_had(net: NetEngine, words: list[str], complaint: str):
    net.network("mine", "--subnet", SUBNET)
    before = net.state_of_host()
    done = net.cli.call("run", "--rm", *words, "busybox", "true")
    assert done.code == 125
    assert complaint in done.err
    assert net.cli.names() == []
    assert net.state_of_host() == before


# Several networks


def test_the_default_route_of_several_networks(net: NetEngine):
    for name, subnet in (("bb", "10.71.0.0/24"), ("aa", "10.72.0.0/24"), ("cc", "10.73.0.0/24")):
        net.network(name, "--subnet", subnet)
    show = "ip route | grep default; ip -o -4 address"
    flags = ("--network", "bb", "--network", "aa")
    lines = net.once(*flags, script=show).splitlines()
    assert lines[0].split()[2] == "10.72.0.1"  # the first name
    assert [line.split()[1] for line in lines[1:]] == ["lo", "eth0", "eth1"]
    assert "10.71.0." in lines[2]  # in the order of the flags
    lines = net.once(*flags, "--network", "name=cc,gw-priority=1", script=show).splitlines()
    assert lines[0].split()[2] == "10.73.0.1"


def test_an_internal_network_leads_nowhere(net: NetEngine):
    net.network("closed", "--internal", "--subnet", SUBNET)
    net.run("db", "--network", "closed", "-p", "8080:80")
    assert net.sh("db", "ip route | grep default || true") == ""
    assert net.settings("db")["Ports"] == {"80/tcp": None}
    assert "64 bytes from" in net.once("--network", "closed", script="ping -c1 db")
    script = f"ping -c1 -W1 {CLIENT_IP}"
    assert net.cli.call("run", "--rm", "--network", "closed", "busybox", "sh", "-c", script).code


def test_networks_are_apart(net: NetEngine):
    net.network("one", "--subnet", "10.71.0.0/24")
    net.network("two", "--subnet", "10.72.0.0/24")
    net.web("web", "--network", "one")
    address = net.cli.address_of("web", "one")
    assert net.once("--network", "one", script=f"wget -qO- http://{address}/") == "web"
    words = ("--rm", "--network", "two", "busybox", "wget", "-qO-", "-T1", f"http://{address}/")
    assert net.cli.call("run", *words).code


# Modes without a network of the engine's


def test_the_network_of_another_container(net: NetEngine):  # O-21
    net.web("web", "-p", "8080:80")
    assert net.once("--network", "container:web", script="wget -qO- http://127.0.0.1/") == "web"
    assert net.once("--network", "container:web", script="hostname") == "web"
    net.run("joined", "--network", "container:web")
    found = net.settings("joined")
    assert (found["Networks"], found["Ports"]) == ({}, {})
    assert net.cli.ok("ps", "--filter", "name=joined", "--format", "{{.Networks}}|{{.Ports}}") == (
        "container:web|"
    )


def test_a_namespace_that_is_pinned(net: NetEngine, tmp_path):
    pinned = tmp_path / "pinned"
    pinned.touch()
    net.host.ok("unshare", f"--net={pinned}", "ip", "address", "add", "10.9.9.9/32", "dev", "lo")
    try:
        assert "10.9.9.9" in net.once("--network", f"netns:{pinned}", script="ip address")
    finally:
        net.host.ok("umount", str(pinned))
    done = net.cli.call("run", "--rm", "--network", f"netns:{pinned}", "busybox", "true")
    assert "there is no network namespace" in done.err


def test_host_and_none(net: NetEngine):
    assert HOST_IP in net.once("--network", "host", script="ip address")
    assert net.once("--network", "none", script="ls /sys/class/net") == "lo"
    done = net.cli.call("run", "--rm", "--network", "host", "-p", "80:80", "busybox", "true")
    assert done.code == 0
    assert done.err == (
        "WARNING: Published ports are discarded when using host network mode\n"
    )


# What is said of it


def test_network_settings_have_dockers_shape(net: NetEngine):
    net.network("mine", *DUAL)
    net.run("web", "--network", "mine", "-p", "8080:80", "--expose", "443")
    net.cli.ok("network", "connect", "bridge", "web")
    found = net.settings("web")
    assert set(found) == SETTINGS_KEYS
    assert found["SandboxKey"] == f"/proc/{net.cli.pid_of('web')}/ns/net"
    assert found["Ports"] == {
        "80/tcp": [
            {"HostIp": "0.0.0.0", "HostPort": "8080"},
            {"HostIp": "::", "HostPort": "8080"},
        ],
        "443/tcp": None,
    }
    assert set(found["Networks"]) == {"mine", "bridge"}
    mine, default = found["Networks"]["mine"], found["Networks"]["bridge"]
    assert set(mine) == ENDPOINT_KEYS
    assert mine["NetworkID"] == net.cli.ok("network", "inspect", "-f", "{{.Id}}", "mine")
    assert (mine["Gateway"], mine["IPPrefixLen"]) == ("10.77.0.1", 24)
    assert (mine["IPv6Gateway"], mine["GlobalIPv6PrefixLen"]) == ("fd77::1", 64)
    for key in ("IPAddress", "Gateway", "MacAddress", "EndpointID", "IPPrefixLen"):
        assert found[key] == default[key] != ""
    net.cli.ok("stop", "-t", "0", "web")
    stopped = net.settings("web")
    assert stopped["Ports"] == {}
    assert stopped["Networks"]["mine"]["IPAddress"] == ""
    assert stopped["Networks"]["mine"]["NetworkID"] == mine["NetworkID"]


def test_events_of_a_run(net: NetEngine):
    since = str(time.time())
    container_id = net.run("web")
    net.cli.ok("rm", "-f", "web")
    form = "{{.Type}} {{.Action}} {{.Actor.Attributes.container}}"
    words = ("--since", since, "--until", "0s", "--format", form)
    lines = net.cli.ok("events", *words).splitlines()
    connect = lines.index(f"network connect {container_id}")
    disconnect = lines.index(f"network disconnect {container_id}")
    actions = [line.split()[1] for line in lines]
    assert actions.index("create") < connect < actions.index("start")
    assert actions.index("die") < disconnect < actions.index("destroy")


def test_a_restart_policy_connects_again(net: NetEngine):
    net.network("mine")
    net.run(
        "again", "--network", "mine", "-p", "8080:80", "--restart", "on-failure:2",
        command=("sh", "-c", "ip -4 -o address show eth0; sleep 0.2; exit 3"),
    )  # fmt: skip
    count = ("inspect", "--format", "{{.RestartCount}} {{.State.Status}}", "again")
    wait_for(lambda: net.cli.ok("logs", "again").count("inet ") == 3, "it restarts twice")
    wait_for(lambda: net.cli.ok(*count) == "2 exited", "it ends")
    assert net.cli.call("run", "--rm", "-p", "8080:80", "busybox", "true").code == 0


def test_ipv6_alone_reaches_the_client(net: NetEngine):
    net.network("mine", *DUAL)
    assert "64 bytes from" in net.once("--network", "mine", script=f"ping -6 -c1 {CLIENT_IP6}")
