"""Beside other firewalls of the host: Docker's iptables rules, firewalld, an operator's own."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from runengine.netns import others
from runengine.netns.types import Published
from tests.support.capabilities import needs
from tests.support.site import ALPHA, BRIDGES, CLIENT, CLIENT6, HOST, HOST6, Site
from tests.support.traffic import Server, ask, open_ways, reaches
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, needs("nft", "ip")]

PORT = 8080
DEVICE = ALPHA.device


@pytest.fixture(scope="module", params=[False, True], ids=["routed", "bridged-filtered"])
def shared_site(request, tmp_path_factory):
    with Site(tmp_path_factory.mktemp("site")) as site:
        if not site.filter_bridged(on=request.param):
            pytest.skip("no br_netfilter in this kernel")
        yield site


@pytest.fixture
def site(shared_site):
    """It and its firewall as they were made, before and after."""
    yield shared_site
    shared_site.host.ok("nft", "flush", "ruleset")  # iptables-nft's rules with it
    for program in ("iptables-legacy", "ip6tables-legacy"):
        if shutil.which(program):
            for options in ("-P FORWARD ACCEPT", "-F", "-X"):
                shared_site.host.ok(program, *options.split())
    with shared_site.entered():
        shared_site.firewall.replay(BRIDGES, ())


def accept(site) -> list[str]:
    with site.entered():
        return others.accept_forwarding(DEVICE)


def works(site) -> list[bool]:
    """Whether out, in, and between containers of a network, in both families."""
    ports = [
        Published("tcp", "0.0.0.0", PORT, site.a1.ip, 80),
        Published("tcp", "::", PORT, site.a1.ip6, 80),
    ]
    with (
        Server(site.a1.netns_fd, "tcp", 80),
        Server(site.client, "tcp", 80),
        site.published(*ports),
    ):
        ways = (
            (site.a1.netns_fd, CLIENT, 80),
            (site.a1.netns_fd, CLIENT6, 80),
            (site.client, HOST, PORT),
            (site.client, HOST6, PORT),
            (site.a2.netns_fd, site.a1.ip, 80),
            (site.a2.netns_fd, site.a1.ip6, 80),
        )
        found = open_ways(*ways)
        return [way in found for way in ways]


def docker_rules(site, suffix: str = "") -> None:
    """What Docker leaves of the filter table: a policy, and the chain that is the operator's."""
    for program in (f"iptables{suffix}", f"ip6tables{suffix}"):
        for rule in (
            "-P FORWARD DROP",
            "-N DOCKER-USER",
            "-A DOCKER-USER -j RETURN",
            "-A FORWARD -j DOCKER-USER",
        ):
            site.host.ok(program, *rule.split())


@pytest.mark.parametrize("suffix", ["-nft", "-legacy"])
@needs("iptables")
def test_dockers_policy(site, suffix):
    docker_rules(site, suffix)
    before = site.host.ok(f"iptables{suffix}", "-S"), site.host.ok(f"ip6tables{suffix}", "-S")
    assert works(site)[:4] == [False] * 4
    notices = accept(site)
    assert [notice.split(":")[0] for notice in notices] == [
        f"iptables{suffix}", f"ip6tables{suffix}"
    ]  # fmt: skip
    assert accept(site) == []
    assert works(site) == [True] * 6
    rules = [rule for rule in site.host.ok(f"iptables{suffix}", "-S").splitlines()
             if DEVICE in rule]  # fmt: skip
    assert len(rules) == 2
    assert all(rule.startswith("-A DOCKER-USER") and "runengine" in rule for rule in rules)
    with site.entered():
        others.forget_forwarding(DEVICE)
        others.forget_forwarding(DEVICE)
    after = site.host.ok(f"iptables{suffix}", "-S"), site.host.ok(f"ip6tables{suffix}", "-S")
    assert after == before


@needs("iptables")
def test_what_docker_lets_through_for_us_is_still_judged_by_us(site):
    docker_rules(site)
    accept(site)
    site.router_host.ok("ip", "route", "replace", "10.81.0.0/24", "via", HOST)
    with Server(site.a1.netns_fd, "tcp", 80, "a1"):
        assert not reaches(site.router, site.a1.ip, 80)
        assert not reaches(site.b1.netns_fd, site.a1.ip, 80)


@needs("iptables")
def test_a_policy_without_a_place_for_us_is_told(site):
    site.host.ok("iptables", "-P", "FORWARD", "DROP")
    (notice,) = accept(site)
    commands = [part for part in notice.split("'") if " -I FORWARD " in part]
    assert len(commands) == 2
    assert works(site)[0] is False
    for command in commands:
        site.host.ok(*command.split())
    assert works(site) == [True] * 6


def test_an_operators_own_table_is_told(site):
    site.host.ok("nft", "add table inet mine; add chain inet mine forward"
                 " { type filter hook forward priority 0; policy drop; }")  # fmt: skip
    (notice,) = accept(site)
    assert "inet mine forward" in notice
    rules = [part for part in notice.split("'") if part.endswith(" accept")]
    assert works(site)[0] is False
    for rule in rules:
        site.host.ok("nft", f"add rule inet mine forward {rule}")
    assert works(site) == [True] * 6


def test_nothing_is_said_where_nothing_is_in_the_way(site):
    site.host.ok("nft", "add table inet mine; add chain inet mine input"
                 " { type filter hook input priority 0; policy drop; }")  # fmt: skip
    assert accept(site) == []


BUS = """<busconfig><type>system</type><listen>unix:path={path}</listen><policy context="default">
<allow user="*"/><allow own="*"/><allow send_destination="*"/><allow send_type="*"/>
<allow receive_type="*"/></policy></busconfig>"""


@pytest.fixture
def firewalld(site, tmp_path, monkeypatch):
    """firewalld on the host, with a bus and a configuration of its own."""
    bus = tmp_path / "bus"
    (tmp_path / "bus.conf").write_text(BUS.format(path=bus))
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={bus}")
    configuration = tmp_path / "firewalld"
    (configuration / "zones").mkdir(parents=True)
    shutil.copy("/etc/firewalld/firewalld.conf", configuration)
    log = str(tmp_path / "firewalld.log")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    commands = (
        ("dbus-daemon", "--nofork", f"--config-file={tmp_path}/bus.conf"),
        ("firewalld", "--nofork", "--nopid", f"--system-config={configuration}",
         f"--log-file={log}"),
    )  # fmt: skip
    started = []
    try:
        for command in commands:
            started.append(site.host.begin(*command, **quiet))
            wait_for(bus.exists, "the bus is there")
        wait_for(lambda: site.host.call("firewall-cmd", "--state").code == 0, "it runs")
        yield site.host
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


@needs("firewalld", "dbus-daemon")
def test_firewalld(site, firewalld):
    assert works(site)[0] is False
    assert accept(site) == [f"firewalld: {DEVICE} is in the zone trusted now, for good"]
    assert accept(site) == []
    assert works(site) == [True] * 6
    with (
        Server(site.a1.netns_fd, "tcp", 80, "a1"),
        site.published(Published("tcp", "0.0.0.0", PORT, site.a1.ip, 80)),
    ):
        assert ask(site.client, HOST, PORT).peer == CLIENT
    firewalld.ok("firewall-cmd", "--reload")
    assert works(site) == [True] * 6
    with site.entered():
        assert site.firewall.is_whole()
        others.forget_forwarding(DEVICE)
    for permanent in ([], ["--permanent"]):
        listed = firewalld.ok("firewall-cmd", *permanent, "--zone=trusted", "--list-interfaces")
        assert listed.strip() == ""


def test_a_reload_of_nftables_service(site):
    """Its configuration begins with a flush of everything; a replay brings all back."""
    assert works(site) == [True] * 6
    site.host.ok("nft", "flush", "ruleset")
    with site.entered():
        assert not site.firewall.is_whole()
        site.firewall.replay(BRIDGES, [])
    assert works(site) == [True] * 6
