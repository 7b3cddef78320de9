"""Other firewalls: what is found of them, what is done, and what only the operator can do."""

from __future__ import annotations

import shutil

import pytest

from runengine.netns import nftables, others
from runengine.netns.nftables import Chain


class Host:
    """Programs with canned answers; everything that is run is kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ran: list[str] = []
        self.fails: set[str] = set()
        self.answers: dict[str, str] = {}
        self.programs: set[str] = set()
        self.chains: list[Chain] = []
        self.legacy: list[str] = []
        monkeypatch.setattr(others, "_run", self.run)
        monkeypatch.setattr(shutil, "which", lambda name: name in self.programs or None)
        monkeypatch.setattr(nftables, "chains", lambda: self.chains)
        monkeypatch.setattr(others, "_lines", lambda _: self.legacy)
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/there/is/one")

    def run(self, *command: str) -> str | None:
        line = " ".join(command)
        self.ran.append(line)
        if any(part in line for part in self.fails):
            return None
        return self.answers.get(line, "")


@pytest.fixture
def host(monkeypatch):
    return Host(monkeypatch)


def test_nothing_there_is_nothing_done(host):
    host.chains = [Chain("inet", "runengine", "forward", False)]
    assert others.accept_forwarding("br0") == []
    others.forget_forwarding("br0")
    assert host.ran == []


def test_firewalld(host):
    host.programs = {"firewall-cmd"}
    host.fails = {"--query-interface"}
    assert others.accept_forwarding("br0") == [
        "firewalld: br0 is in the zone trusted now, for good"
    ]
    assert [line for line in host.ran if "change" in line] == [
        "firewall-cmd --zone=trusted --change-interface=br0",
        "firewall-cmd --permanent --zone=trusted --change-interface=br0",
    ]


def test_firewalld_that_knows_already(host):
    host.programs = {"firewall-cmd"}
    assert others.accept_forwarding("br0") == []
    assert not [line for line in host.ran if "change" in line]


def test_firewalld_that_does_not_run(host):
    host.programs = {"firewall-cmd"}
    host.fails = {"--state"}
    assert others.accept_forwarding("br0") == []
    assert host.ran == ["firewall-cmd --state"]


def test_firewalld_cannot_run_without_a_bus(host, monkeypatch):
    host.programs = {"firewall-cmd"}
    monkeypatch.delenv("DBUS_SYSTEM_BUS_ADDRESS")
    monkeypatch.setattr(others, "_BUS", "/nonexistent")
    assert others.accept_forwarding("br0") == []
    assert host.ran == []


def test_firewalld_that_refuses(host):
    host.programs = {"firewall-cmd"}
    host.fails = {"--query-interface", "--permanent"}
    (notice,) = others.accept_forwarding("br0")
    assert "run 'firewall-cmd --permanent --zone=trusted --change-interface=br0'" in notice


DOCKER = [
    Chain("ip", "filter", "FORWARD", True),
    Chain("ip", "filter", "DOCKER-USER", False),
]


def test_docker(host):
    host.chains = DOCKER
    host.programs = {"iptables-nft"}
    host.fails = {"-C DOCKER-USER -i"}
    assert others.accept_forwarding("br0") == [
        "iptables-nft: DOCKER-USER accepts what br0 forwards now"
    ]
    rule = "-m comment --comment runengine -j ACCEPT"
    assert host.ran[-1] == f"iptables-nft -w -I DOCKER-USER -i br0 {rule}"
    host.fails = set()
    host.ran.clear()
    assert others.accept_forwarding("br0") == []
    assert not [line for line in host.ran if "-I" in line]


def test_docker_that_is_gone_leaves_its_chain(host):
    host.chains = DOCKER
    host.fails = {"-D DOCKER-USER -o"}
    others.forget_forwarding("br0")
    assert sum("-D DOCKER-USER -i" in line for line in host.ran) == 8
    assert sum("-D DOCKER-USER -o" in line for line in host.ran) == 1


def test_docker_with_iptables_beside_nftables(host):
    host.legacy = ["filter", "nat"]
    host.programs = {"iptables-legacy"}
    host.fails = {"-C", "ip6tables"}
    host.answers["iptables-legacy -w -S"] = (
        "-P FORWARD DROP\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER"
    )
    assert others.accept_forwarding("br0") == [
        "iptables-legacy: DOCKER-USER accepts what br0 forwards now"
    ]


def test_docker_without_the_program(host):
    host.chains = DOCKER
    host.fails = {"iptables"}
    (notice,) = others.accept_forwarding("br0")
    assert "'iptables -I DOCKER-USER -i br0 -j ACCEPT'" in notice


def test_a_policy_that_is_not_docker_s(host):
    host.chains = [Chain("ip", "filter", "FORWARD", True)]
    (notice,) = others.accept_forwarding("br0")
    assert "'iptables -I FORWARD -i br0 -j ACCEPT' and 'iptables -I FORWARD -o br0" in notice
    assert host.ran == []


def test_ufw(host):
    host.chains = [
        Chain("ip", "filter", "FORWARD", True),
        Chain("ip", "filter", "ufw-user-forward", False),
    ]
    (notice,) = others.accept_forwarding("br0")
    assert "'ufw route allow in on br0' and 'ufw route allow out on br0'" in notice


def test_an_operators_table(host):
    host.chains = [
        Chain("inet", "firewalld", "filter_FORWARD", True),
        Chain("inet", "mine", "fwd", True),
    ]
    (notice,) = others.accept_forwarding("br0")
    assert "inet mine fwd" in notice
    assert "'iifname br0 accept'" in notice
