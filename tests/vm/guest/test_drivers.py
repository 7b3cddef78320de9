"""Containers as neighbours of the host: macvlan, ipvlan and VLANs, which this kernel has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm.guest import wires
from tests.vm.guest.installed import ok, run, start
from tests.vm.guest.wires import HOST_IP, OUTSIDE, OUTSIDE_IP, get, get_from, web

pytestmark = pytest.mark.vm
WIRES, WIRES6 = "192.0.2.0/24", "2001:db8::/64"
ADDRESS, ADDRESS6 = "192.0.2.80", "2001:db8::80"
VLAN, VLANS, VLANS_OUTSIDE_IP = "wire.10", "198.51.100.0/24", "198.51.100.2"


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
def test_the_world_outside_sees_a_container_as_a_host(clean: str, driver: str):
    """The other driver's has the same addresses, and another MAC address."""
    wires.lay()
    run("ip", "-n", OUTSIDE, "address", "replace", "2001:db8::2/64", "dev", "wire", "nodad")
    words = ("--driver", driver, "-o", "parent=wire", "--aux-address", f"host={HOST_IP}")
    subnets = ("--subnet", WIRES, "--gateway", OUTSIDE_IP, "--ipv6", "--subnet", WIRES6)
    ok("network", "create", *words, *subnets, "lan")
    web("web", "--network", "lan", "--ip", ADDRESS, "--ip6", ADDRESS6)
    start("other", "sleep 1000", "--network", "lan", "--stop-signal=KILL")
    assert get(f"http://{ADDRESS}/") == "web"
    assert get(f"http://[{ADDRESS6}]/") == "web"
    assert get_from("other", "http://web/") == "web"
    assert ok("exec", "other", "ping", "-c", "1", "-W", "20", OUTSIDE_IP)
    ok("restart", "web")
    assert get(f"http://{ADDRESS}/") == "web"
    ok("rm", "-f", "web", "other")
    ok("network", "rm", "lan")
    assert Path("/sys/class/net/wire").exists()


def test_a_vlan_is_there_as_long_as_its_network(clean: str):
    wires.lay()
    tagged = ("link", "add", "link", "wire", "name", VLAN, "type", "vlan", "id", "10")
    run("ip", "-n", OUTSIDE, *tagged)
    run("ip", "-n", OUTSIDE, "address", "add", f"{VLANS_OUTSIDE_IP}/24", "dev", VLAN)
    run("ip", "-n", OUTSIDE, "link", "set", VLAN, "up")
    words = ("--driver", "macvlan", "--subnet", VLANS, "-o", f"parent={VLAN}")
    ok("network", "create", *words, "tagged")
    web("web", "--network", "tagged", "--ip", "198.51.100.80")
    assert get("http://198.51.100.80/") == "web"
    ok("rm", "-f", "web")
    ok("network", "rm", "tagged")
    assert not Path("/sys/class/net", VLAN).exists()
    run("ip", "-n", OUTSIDE, "link", "delete", VLAN)
