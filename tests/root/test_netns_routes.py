"""What networks and addresses a host has."""

from __future__ import annotations

import ipaddress

import pytest

from runengine.netns import bridge, routes
from tests.support import nethosts
from tests.support.capabilities import needs
from tests.support.nethosts import BRIDGE, ip

pytestmark = [pytest.mark.root, needs("ip")]


@pytest.fixture(autouse=True)
def host():
    with nethosts.own_host() as opened:
        yield opened


def networks(*texts: str) -> list[object]:
    return [ipaddress.ip_network(text) for text in texts]


def test_a_fresh_host_has_none():
    assert routes.used_networks() == []
    assert routes.host_addresses() == []


def test_subnets_of_addresses_and_routes_count_but_default_routes_do_not():
    bridge.ensure(BRIDGE)
    ip("route", "add", "10.20.0.0/16", "via", "10.9.0.7")
    ip("route", "add", "fd00:20::/48", "via", "fd00:9::7")
    ip("route", "add", "default", "via", "10.9.0.7")
    ip("-6", "route", "add", "default", "via", "fd00:9::7")
    ip("route", "add", "blackhole", "10.30.0.0/16")
    ip("route", "add", "10.40.0.0/16", "via", "10.9.0.7", "table", "77")
    assert routes.used_networks() == networks(
        "10.9.0.0/24", "10.20.0.0/16", "10.30.0.0/16", "10.40.0.0/16", "fd00:9::/64",
        "fd00:20::/48",
    )  # fmt: skip


def test_what_is_down_counts_as_well():
    bridge.ensure(BRIDGE)
    ip("link", "set", "brt0", "down")
    assert networks("10.9.0.0/24")[0] in routes.used_networks()


def test_addresses_of_the_host():
    bridge.ensure(BRIDGE)
    ip("addr", "add", "10.9.0.5/32", "dev", "lo")
    assert routes.host_addresses() == ["10.9.0.1", "10.9.0.5", "fd00:9::1"]


def test_many_routes():
    """More than fits one answer of the kernel's."""
    bridge.ensure(BRIDGE)
    for number in range(200):
        ip("route", "add", f"10.{number + 20}.0.0/16", "via", "10.9.0.7")
    assert len(routes.used_networks()) == 202
