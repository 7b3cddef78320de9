"""``port``: who can reach what is published."""

from __future__ import annotations

import pytest

from runengine.mgr.network import exposure
from tests.support.cli import call

OWN = ["198.51.100.1", "203.0.113.5", "2001:db8::1"]


def port(address, public, private=80, kind="tcp"):
    return {"IP": address, "PublicPort": public, "PrivatePort": private, "Type": kind}


class Containers:
    def __init__(self, *entries):
        self.entries = entries
        self.filters = None

    def inspect(self, name):
        return {"Id": f"{name}-id", "NetworkSettings": {"Ports": {}}}

    def list(self, *, filters):
        self.filters = filters
        return self.entries


class Networks:
    def host_addresses(self):
        return OWN


@pytest.mark.parametrize(
    ("address", "who"),
    [
        ("127.0.0.1", "this host only"),
        ("127.8.0.1", "this host only"),
        ("::1", "this host only"),
        ("198.51.100.1", "whoever reaches 198.51.100.1"),
        ("0.0.0.0", "whoever reaches 198.51.100.1, 203.0.113.5"),
        ("::", "whoever reaches 2001:db8::1"),
    ],
)
def test_who_reaches_an_address(address, who):
    assert exposure.reach(address, OWN) == who


def test_a_host_without_addresses_is_reached_by_itself():
    assert exposure.reach("0.0.0.0", ["2001:db8::1"]) == "this host only"


def test_a_line_for_each_address():
    web = {
        "Names": ["/web"],
        "Ports": [
            port("0.0.0.0", 9000, 9000),
            port("0.0.0.0", 9001, 9001),
            port("127.0.0.1", 8080),
            {"PrivatePort": 443, "Type": "tcp"},
        ],
    }
    quiet = {"Names": ["/quiet"], "Ports": [{"PrivatePort": 443, "Type": "tcp"}]}
    containers = Containers(web, quiet)
    done = call("port", "--exposure", containers=containers, networks=Networks())
    assert done.output.splitlines() == [
        "CONTAINER   PUBLISHED                          REACHED BY",
        "web         0.0.0.0:9000-9001->9000-9001/tcp   whoever reaches 198.51.100.1, 203.0.113.5",
        "web         127.0.0.1:8080->80/tcp             this host only",
    ]
    assert containers.filters == {}


def test_of_one_container():
    containers = Containers()
    call("port", "-e", "web", containers=containers, networks=Networks())
    assert containers.filters == {"id": ["web-id"]}


@pytest.mark.parametrize(
    ("args", "message"),
    [((), "requires at least 1 argument"), (("-e", "web", "80"), "of all ports of a container")],
)
def test_what_makes_no_sense(args, message):
    done = call("port", *args, containers=Containers(), networks=Networks())
    assert done.exit_code
    assert message in done.stderr
