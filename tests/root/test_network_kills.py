"""Whoever is killed, and whenever: nothing of a container's networks stays on the host."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.capabilities import needs
from tests.support.command_line import REPOSITORY
from tests.support.net_engines import HOST_IP, SUBNET
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from tests.support.net_engines import NetEngine

pytestmark = [pytest.mark.root, needs("runc", "busybox")]

# Without a service there is but the monitor to see an end. What is killed else is a command of the
# library's, to which it makes no difference.
both = pytest.mark.ways("cold", "warm")
either_side = pytest.mark.parametrize("after", [False, True], ids=["before", "after"])

KILLED_START = """
import os, sys
sys.path.insert(0, {root!r})
import {module} as module
real = module.{function}
def dies(*args, **kwargs):
    if {after}:
        real(*args, **kwargs)
    os.kill(os.getpid(), 9)
module.{function} = dies
from runengine import Engine
from runengine.paths import Paths
engine = Engine.open(Paths({paths[0]!r}, {paths[1]!r}))
{action}
"""


@pytest.fixture
def one(net: NetEngine) -> NetEngine:
    """With the network ``one``, up since a first container, and ``two``."""
    net.network("one", "--subnet", SUBNET)
    net.network("two", "--subnet", "10.78.0.0/24")
    net.once("--network", "one", "--network", "two", script="true")
    net.once(script="true")
    return net


def die_in(net: NetEngine, action: str, module: str, function: str, *, after: bool) -> None:
    """Do ``action`` with the library on the host, and be killed in a function."""
    script = KILLED_START.format(
        root=str(REPOSITORY),
        module=f"runengine.{module}",
        function=function,
        after=after,
        paths=(str(net.cli.root), str(net.cli.state)),
        action=action,
    )
    done = net.host.call(sys.executable, "-c", script)
    assert done.code in (-signal.SIGKILL, 128 + signal.SIGKILL), done


@both
def test_a_killed_init(one: NetEngine):
    before = one.state_of_host()
    one.run("web", "--network", "one", "-p", "8080:80")
    os.kill(one.cli.pid_of("web"), signal.SIGKILL)
    # Without a further command: the monitor sees to it.
    wait_for(lambda: one.state_of_host() == before, "everything is given back")
    one.run("other", "--network", "one", "-p", "8080:80")
    assert one.cli.call("exec", "other", "ping", "-c1", "web").code
    assert one.cli.state_of("web") == "exited"


def test_a_program_that_ends_by_itself(one: NetEngine):
    before = one.state_of_host()
    one.run("brief", "-p", "8080:80", command=("true",))
    wait_for(lambda: one.state_of_host() == before, "everything is given back")
    assert one.cli.ok("wait", "brief") == "0"


@both
def test_a_killed_monitor(one: NetEngine):
    before = one.state_of_host()
    one.web("web", "--network", "one", "-p", "8080:80")
    container_id = one.cli.ok("inspect", "--format", "{{.Id}}", "web")
    note = Path(f"{one.cli.state}/containers/{container_id}/init.json").read_text()
    os.kill(json.loads(note)["monitor_pid"], signal.SIGKILL)
    assert one.get(f"http://{HOST_IP}:8080/") == "web"  # the container goes on
    one.cli.ok("network", "connect", "two", "web")
    os.kill(one.cli.pid_of("web"), signal.SIGKILL)
    wait_for(lambda: one.cli.names("status=exited") == ["web"], "its end is noticed")
    wait_for(lambda: one.state_of_host() == before, "everything is given back")
    one.cli.ok("start", "web")
    assert one.get(f"http://{HOST_IP}:8080/") == "web"


@either_side
def test_a_start_killed_at_any_step(one: NetEngine, after: bool):
    for module, function in (
        ("mgr.network.sandbox", "for_run"),
        ("netns.namespace", "new"),
        ("mgr.network.sandbox", "attach"),
        ("netns.endpoint", "attach"),
        ("mgr.network.up", "publish"),
        ("mgr.network.names", "refresh"),
        ("mgr.container.start", "write_spec"),
    ):
        check_a_killed_start(one, module, function, after=after)
        one.cli.ok("rm", "-f", "web")


def check_a_killed_start(one: NetEngine, module: str, function: str, *, after: bool) -> None:
    """It leaves nothing, and whoever comes next can have all that it had."""
    before = one.state_of_host()
    one.cli.ok("create", "--name", "web", "--network", "one", "--network", "two", "-p", "8080:80",
               "--network-alias", "front", "busybox", "sleep", "1000")  # fmt: skip
    die_in(one, "engine.containers.start('web')", module, function, after=after)
    one.run("other", "--network", "one", "-p", "8080:80")  # takes what is left of it over
    assert one.cli.call("exec", "other", "ping", "-c1", "front").code, function
    one.cli.ok("rm", "-f", "other")
    assert one.cli.names("status=created") == ["web"]  # a look puts right what is left
    wait_for(lambda: one.state_of_host() == before, f"nothing is left of {function}")
    one.cli.ok("start", "web")
    assert one.settings("web")["Ports"] == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]
    }, function


def test_a_start_killed_when_the_container_runs(one: NetEngine):
    before = one.state_of_host()
    script = "mkdir /www; echo here >/www/index.html; exec httpd -f -h /www"
    one.cli.ok("create", "--name", "web", "-p", "8080:80", "busybox", "sh", "-c", script)
    die_in(one, "engine.containers.start('web')", "mgr.container.start", "_note_started",
           after=False)  # fmt: skip
    assert one.cli.state_of("web") == "running"
    assert one.get(f"http://{HOST_IP}:8080/") == "here"
    one.cli.ok("rm", "-f", "web")
    assert one.state_of_host() == before


@either_side
def test_a_teardown_killed_at_any_step(one: NetEngine, after: bool):
    before = one.state_of_host()
    for module, function in (
        ("mgr.network.sandbox", "delete_host_ends"),
        ("netns.firewall", "Firewall.withdraw"),
        ("store.endpoints", "Endpoints.release"),
        ("mgr.network.names", "refresh"),
    ):
        one.run("web", "--network", "one", "-p", "8080:80")
        die_in(one, "engine.containers.stop('web', timeout_s=0)", module, function, after=after)
        wait_for(lambda: one.cli.names("status=exited") == ["web"], "its end is noticed")
        wait_for(lambda: one.state_of_host() == before, "nothing is left")
        one.run("other", "--network", "one", "-p", "8080:80")
        assert one.cli.call("exec", "other", "ping", "-c1", "web").code, function
        one.cli.ok("rm", "-f", "web", "other")


@either_side
def test_a_connect_killed_at_any_step(one: NetEngine, after: bool):
    one.run("web", "--network", "one", "-p", "8080:80")
    before = one.state_of_host()
    module = "mgr.network.connect"
    for function in ("_attach", "_for_run", "_published"):
        die_in(one, "engine.containers.connect('web', 'two')", module, function, after=after)
        done = one.cli.call("network", "connect", "two", "web")
        assert done.code == 0 or "already exists" in done.err
        assert "64 bytes from" in one.once("--network", "two", script="ping -c1 web")
        one.cli.ok("network", "disconnect", "two", "web")
        assert one.state_of_host() == before, function


def test_a_disconnect_killed_half_way(one: NetEngine):
    one.run("web", "--network", "one", "--network", "two")
    action = "engine.containers.disconnect('web', 'two')"
    die_in(one, action, "mgr.network.connect", "_remove", after=True)
    one.cli.ok("network", "disconnect", "two", "web")
    assert one.sh("web", "ls /sys/class/net").split() == ["eth0", "lo"]
    one.cli.ok("network", "rm", "two")


def test_a_resolver_that_is_killed_comes_back(one: NetEngine):
    one.run("web", "--network", "one")
    pids = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and f"{one.cli.state}/dns" in _command_of(entry)
    ]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert "64 bytes from" in one.once("--network", "one", script="ping -c1 web")


def _command_of(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.ways("cold")
def test_a_flushed_firewall_is_written_anew(one: NetEngine):
    one.web("web", "--network", "one", "-p", "8080:80")
    one.host.ok("nft", "flush", "ruleset")
    assert not one.gets(f"http://{HOST_IP}:8080/")
    one.run("other", "-p", "8081:80")  # the next change finds it
    assert one.get(f"http://{HOST_IP}:8080/") == "web"


@pytest.mark.ways("warm")
def test_the_service_hears_of_a_flush_and_writes_the_firewall_anew(one: NetEngine):
    one.web("web", "--network", "one", "-p", "8080:80")
    for _ in range(2):
        one.host.ok("nft", "flush", "ruleset")
        wait_for(lambda: one.gets(f"http://{HOST_IP}:8080/"))
