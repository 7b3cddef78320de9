"""Networks on a host of the test's own: links, firewall, addresses, and what cuts them short."""

from __future__ import annotations

import ipaddress
import json
import signal
import subprocess
import sys
import time

import pytest

from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, pytest.mark.needs("overlay")]
# No service: it would see to what nobody is left for, and is another process than the killed one.
cold = pytest.mark.ways("cold")

MANY = 8


@pytest.fixture
def cli(net):
    """The command line of an engine on a host of its own, without networks before and after."""
    yield net.cli
    net.clear()
    assert net.cli.ok("network", "ls", "--filter", "type=custom", "-q") == ""
    # The kernel takes the pairs away when a namespace has gone, in its own time.
    wait_for(lambda: not [name for name in links(net.cli) if name.startswith(("br-", "ve", "t"))])


def links(cli):
    return [link["ifname"] for link in json.loads(cli.host.ok("ip", "-json", "link"))]


def create(cli, *args):
    """Create a network, whatever is told of the host's settings; its id."""
    done = cli.call("network", "create", *args)
    assert done.code == 0, done
    return done.out.strip()


def start(cli, name, *args, network="net"):
    """Start a container that stays."""
    done = cli.call("run", "-d", "--name", name, "--network", network, *args, "busybox",
                    "sleep", "1000")
    assert done.code == 0, done


def inspect(cli, name):
    return json.loads(cli.ok("network", "inspect", name))[0]


def pings(cli, name, address):
    return cli.call("exec", name, "ping", "-c1", "-W2", address).code == 0


def refused(cli, *args):
    """The error of a command that must fail."""
    done = cli.call(*args)
    assert done.code != 0, done
    return done.err


# Made and removed


def test_a_network_is_there_at_once_and_gone_at_once(cli):
    # M-01, O-09, O-12
    identity = create(cli, "--subnet", "10.44.0.0/24", "--ipv6", "--subnet", "fd44::/64", "net")
    device = f"br-{identity[:12]}"
    shown = cli.host.ok("ip", "-brief", "address", "show", device)
    assert "10.44.0.1/24" in shown
    assert "fd44::1/64" in shown
    assert device in cli.host.ok("nft", "list", "ruleset")
    cli.ok("network", "rm", "net")
    assert device not in links(cli)
    assert device not in cli.host.ok("nft", "list", "ruleset")


def test_containers_get_what_is_free_and_reach_each_other(cli):
    create(cli, "--subnet", "10.44.0.0/29", "--aux-address", "r=10.44.0.2", "net")
    start(cli, "one")
    start(cli, "two", "--ip", "10.44.0.6")
    assert cli.address_of("one", "net") == "10.44.0.3"
    found = inspect(cli, "net")["Containers"]
    assert {one["Name"]: one["IPv4Address"] for one in found.values()} == {
        "one": "10.44.0.3/29", "two": "10.44.0.6/29"
    }
    assert pings(cli, "one", "10.44.0.6")
    for address, message in (
        ("10.44.0.2", "it is network net's own: r"),
        ("10.44.0.6", "already in use: container two"),
        ("10.44.0.7", "no host can have it"),
        ("10.45.0.1", "whose subnet is 10.44.0.0/29: not in it"),
    ):
        run = ("run", "--rm", "--network", "net", "--ip", address, "busybox", "true")
        assert message in refused(cli, *run)


def test_a_network_in_use_names_its_containers(cli):
    create(cli, "net")
    start(cli, "web")
    error = refused(cli, "network", "rm", "net")
    assert "network net has active endpoints: web (" in error
    cli.ok("network", "prune", "--force")
    assert inspect(cli, "net")["Containers"]
    cli.ok("rm", "-f", "web")
    cli.ok("network", "rm", "net")


def test_a_bridge_of_somebody_else_is_left_alone(cli):
    cli.host.ok("ip", "link", "add", "tbr0", "type", "bridge")
    cli.host.ok("ip", "link", "add", "tport", "type", "bridge")
    try:
        create(cli, "-o", "com.docker.network.bridge.name=tbr0", "net")
        cli.ok("network", "rm", "net")
        assert "tbr0" in links(cli)
        error = refused(cli, "network", "create", "-o", "com.docker.network.bridge.name=lo", "net")
        assert "lo exists and is no bridge" in error
        assert cli.ok("network", "ls", "--filter", "type=custom", "-q") == ""
    finally:
        cli.host.ok("ip", "link", "del", "tbr0")
        cli.host.ok("ip", "link", "del", "tport")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--subnet", "10.44.0.1/24"], "it should be 10.44.0.0/24"),
        (["--subnet", "172.16.0.0/12"], "network net: subnet 172.16.0.0/12 "),
        (["--subnet", "10.99.0.0/16"], "would hide 10.99.3.0/24"),
        (["-d", "macvlan", "-o", "parent=nope"], "no link nope"),
        (["-o", "com.docker.network.bridge.name=too-long-a-name-for-a-link"], "longer than 15"),
    ],
)
def test_what_is_refused_leaves_nothing(cli, args, message):
    cli.ok("network", "ls")
    cli.host.ok("ip", "link", "add", "tlan", "type", "bridge")
    try:
        cli.host.ok("ip", "address", "add", "10.99.3.1/24", "dev", "tlan")
        cli.host.ok("ip", "link", "set", "tlan", "up")
        before = links(cli)
        assert message in refused(cli, "network", "create", *args, "net")
        assert links(cli) == before
        assert cli.ok("network", "ls", "--filter", "type=custom", "-q") == ""
    finally:
        cli.host.ok("ip", "link", "del", "tlan")


def test_the_engine_chooses_what_the_host_does_not_use(cli):
    cli.host.ok("ip", "link", "add", "tlan", "type", "bridge")
    try:
        # All that could be chosen but one.
        cli.host.ok("ip", "link", "set", "tlan", "up")
        taken = {inspect(cli, "bridge")["IPAM"]["Config"][0]["Subnet"]}
        free = next(
            net for number in range(18, 32) if (net := f"172.{number}.0.0/16") not in taken
        )
        for number in range(17, 32):
            if (net := f"172.{number}.0.0/16") not in taken | {free}:
                cli.host.ok("ip", "route", "add", net, "dev", "tlan")
        create(cli, "net")
        assert inspect(cli, "net")["IPAM"]["Config"][0]["Subnet"] == free
        create(cli, "next")
        assert inspect(cli, "next")["IPAM"]["Config"][0]["Subnet"] == "192.168.0.0/20"
    finally:
        cli.host.ok("ip", "link", "del", "tlan")


def test_many_at_once_get_subnets_apart(cli):
    creating = [
        cli.begin("network", "create", "--ipv6", f"n{number}", stdout=subprocess.DEVNULL,
                  stderr=subprocess.PIPE)
        for number in range(MANY)
    ]
    for one in creating:
        with one:
            error = one.stderr.read().decode()
        assert one.returncode == 0, error
    names = (f"n{number}" for number in range(MANY))
    subnets = [
        ipaddress.ip_network(config["Subnet"])
        for network in json.loads(cli.ok("network", "inspect", *names))
        for config in network["IPAM"]["Config"]
    ]
    assert len(subnets) == 2 * MANY
    for number, subnet in enumerate(subnets):
        for other in subnets[number + 1 :]:
            assert subnet.version != other.version or not subnet.overlaps(other)


# Cut short


@cold
def test_a_pool_of_ended_containers_is_not_exhausted(cli):
    create(cli, "--subnet", "10.44.0.0/29", "net")
    names = [f"c{number}" for number in range(5)]
    for name in names:
        start(cli, name)
    error = refused(cli, "run", "--rm", "--network", "net", "busybox", "true")
    assert "no available IPv4 addresses on network net" in error
    kill_with_monitor(cli, "c1")
    kill_with_monitor(cli, "c3")
    start(cli, "late")
    assert cli.address_of("late", "net") in ("10.44.0.3", "10.44.0.5")


@cold
def test_a_port_of_an_ended_container_is_free(cli):
    create(cli, "net")
    start(cli, "web", "-p", "8080:80")
    error = refused(
        cli, "run", "--rm", "--network", "net", "-p", "127.0.0.1:8080:80", "busybox", "true"
    )
    assert "Bind for 127.0.0.1:8080 failed: port is already allocated" in error
    assert "container web" in error
    assert "has 0.0.0.0:8080" in error
    kill_with_monitor(cli, "web")
    start(cli, "next", "-p", "8080:80")
    assert "8080" in cli.ok("port", "next")


def kill_with_monitor(cli, name):
    """SIGKILL for a container and its monitor: nobody is left to give anything back."""
    init = cli.pid_of(name)
    with open(f"/proc/{init}/stat", encoding="ascii") as file:
        monitor = int(file.read().rpartition(")")[2].split()[1])
    for pid in (monitor, init):
        assert pid > 1
        subprocess.run(["kill", "-KILL", str(pid)], check=True)
    wait_for(lambda: not alive(init) and not alive(monitor), f"{name} has ended")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@cold
def test_a_create_that_is_killed_anywhere_leaves_nothing_that_stays(cli):
    begun = time.monotonic()
    create(cli, "whole")
    whole_s = time.monotonic() - begun
    for number in range(MANY):
        creating = cli.begin(
            "network", "create", "--ipv6", f"n{number}", stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(whole_s * (number + 1) / MANY)
        creating.send_signal(signal.SIGKILL)
        creating.wait()
    # Each is there or not; those that are can be used and removed.
    names = cli.ok("network", "ls", "--filter", "type=custom", "--format", "{{.Name}}").split()
    assert "whole" in names
    for name in names:
        done = cli.call("run", "--rm", "--network", name, "busybox", "true")
        assert done.code == 0, done
    devices = {f"br-{inspect(cli, name)['Id'][:12]}" for name in names}
    assert {name for name in links(cli) if name.startswith("br-")} == devices


CUT_SHORT = """
import sys
sys.path.insert(0, sys.argv[1])
from runengine import Engine
from runengine.mgr.network import {module}

def die(*_args, **_options):
    import os
    os._exit(9)

{module}.{function} = die
with Engine.open() as engine:
    {call}
"""


def cut_short(cli, module, function, call):
    """Do something as a library and die where a function is called."""
    from tests.support.command_line import REPOSITORY

    script = CUT_SHORT.format(module=module, function=function, call=call)
    done = subprocess.run(
        cli.host.command(sys.executable, "-c", script, str(REPOSITORY)),
        env=cli.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 9, done


CREATE = (
    "from runengine.mgr.network.request import network_config;"
    " engine.networks.create('net', network_config())"
)


def test_a_record_without_a_bridge_gets_one(cli):
    cli.ok("network", "ls")
    cut_short(cli, "up", "_make", CREATE)
    device = f"br-{inspect(cli, 'net')['Id'][:12]}"
    assert device not in links(cli)
    done = cli.call("run", "--rm", "--network", "net", "busybox", "true")
    assert done.code == 0, done
    assert device in links(cli)


def test_a_record_without_a_bridge_can_be_removed(cli):
    cli.ok("network", "ls")
    cut_short(cli, "up", "_make", CREATE)
    cli.ok("network", "rm", "net")


@pytest.mark.parametrize("point", ["_complete", "up.take_down"])
def test_a_removal_that_is_cut_short_is_completed(cli, point):
    identity = create(cli, "net")
    module, _, function = point.rpartition(".")
    cut_short(cli, module or "removal", function, "engine.networks.remove('net')")
    assert f"br-{identity[:12]}" in links(cli)
    assert "network net not found" in refused(cli, "network", "inspect", "net")
    create(cli, "net")
    assert f"br-{identity[:12]}" not in links(cli)


@pytest.mark.parametrize("function", ["attach", "set_up"])
def test_a_start_that_is_cut_short_gives_back(cli, function):
    create(cli, "--subnet", "10.44.0.0/29", "net")
    cli.ok("create", "--name", "web", "--network", "net", "--ip", "10.44.0.3", "-p", "8083:80",
           "busybox", "sleep", "1000")
    cut_short(cli, "sandbox", function, "engine.containers.start('web')")
    start(cli, "other", "--ip", "10.44.0.3", "-p", "8083:80")
    cli.ok("rm", "-f", "other")
    cli.ok("start", "web")
    assert cli.address_of("web", "net") == "10.44.0.3"


# Taken away by others


def test_a_deleted_bridge_comes_back_with_the_next_container(cli):
    identity = create(cli, "net")
    start(cli, "one")
    cli.host.ok("ip", "link", "del", f"br-{identity[:12]}")
    start(cli, "two")
    # Who was there before is plugged in again.
    assert pings(cli, "two", cli.address_of("one", "net"))


@cold  # a service would write them anew by itself
@pytest.mark.parametrize("again", [("network", "reload"), ("run", "-d", "--name", "new",
                         "--network", "net", "-p", "8082:80", "busybox", "sleep", "1000")])
def test_flushed_rules_come_back(cli, again):
    create(cli, "net")
    httpd = ("httpd", "-f", "-p", "80", "-h", "/etc")
    done = cli.call("run", "-d", "--name", "web", "--network", "net", "-p", "8081:80", "busybox",
                    *httpd)
    assert done.code == 0, done
    fetch = ("wget", "-q", "-T", "2", "-t", "1", "-O", "-", "http://127.0.0.1:8081/passwd")
    assert "root" in cli.host.ok(*fetch)
    cli.host.ok("nft", "flush", "ruleset")
    assert cli.host.call(*fetch).code != 0
    done = cli.call(*again)
    assert done.code == 0, done
    assert "root" in cli.host.ok(*fetch)


def test_reload_puts_deleted_bridges_back(cli):
    identity = create(cli, "--subnet", "10.44.0.0/24", "net")
    start(cli, "one")
    start(cli, "two")
    assert pings(cli, "one", "two")
    cli.host.ok("ip", "link", "del", f"br-{identity[:12]}")
    cli.host.ok("nft", "flush", "ruleset")
    assert not pings(cli, "one", cli.address_of("two", "net"))
    assert cli.ok("network", "reload", "net") == "net"
    assert pings(cli, "one", "two")
    assert pings(cli, "one", "10.44.0.1")


def test_a_network_made_anew_is_found_by_its_name(cli):
    create(cli, "net")
    start(cli, "web")
    cli.ok("stop", "-t", "0", "web")
    cli.ok("network", "rm", "net")
    assert "net not found" in refused(cli, "start", "web")
    create(cli, "net")
    cli.ok("start", "web")
    assert list(inspect(cli, "net")["Containers"]) == [
        cli.ok("inspect", "-f", "{{.Id}}", "web")
    ]


def test_events_tell_what_became_of_a_network(cli):
    #
    since = str(time.time())
    create(cli, "net")
    start(cli, "web")
    cli.ok("rm", "-f", "web")
    cli.ok("network", "rm", "net")
    cli.ok("network", "prune", "-f")
    lines = cli.ok(
        "events", "--since", since, "--until", "0s", "--filter", "type=network", "--format",
        "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}",
    ).splitlines()
    assert lines[0] == "create net bridge"
    assert "connect net bridge" in lines
    assert lines.index("connect net bridge") < lines.index("destroy net bridge")
    assert lines[-1].startswith("prune")
