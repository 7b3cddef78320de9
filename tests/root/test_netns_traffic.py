"""What containers on a bridge reach, in both families: peers, the host, themselves."""

from __future__ import annotations

import socket
import subprocess

import pytest

from runengine.netns import endpoint
from tests.support import nethosts
from tests.support.capabilities import needs
from tests.support.nethosts import ip
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, needs("ip", "nft")]


@pytest.fixture
def host():
    with nethosts.bridged_host() as opened:
        yield opened


def neighbour(address: str, device: str) -> str:
    """The MAC address that goes for the neighbour; empty if there is none."""
    words = ip("neigh", "show", address, "dev", device).split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else ""


@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
def test_containers_of_a_bridge_reach_each_other(host, family):
    one, other = host.guest(2), host.guest(3)
    with other.serve(other.addresses[family]):
        one.connect(other.addresses[family])


@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
def test_isolated_ones_reach_the_host_and_those_that_are_not(host, family):
    one, other = host.guest(2, isolated=True), host.guest(3, isolated=True)
    free = host.guest(4)
    gateway = nethosts.GATEWAYS[family]
    with nethosts.listener(gateway, 80), free.serve(free.addresses[family]):
        one.connect(gateway)
        one.connect(free.addresses[family])
    with other.serve(other.addresses[family]), pytest.raises(OSError, match=r"timed out|No route"):
        one.connect(other.addresses[family], timeout_s=1)


@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
def test_neighbours_learn_at_once_where_an_address_is_now(host, family):
    """They would go on sending to the old MAC address for half a minute and more."""
    witness = host.guest(9)
    old = host.guest(2, mac="02:00:00:00:00:01")
    address = old.addresses[family]
    with old.serve(address):
        witness.connect(address)
        socket.create_connection((address, 80), nethosts.PATIENCE_S).close()
    assert witness.call(lambda: neighbour(address, "eth0")) == "02:00:00:00:00:01"
    assert neighbour(address, "brt0") == "02:00:00:00:00:01"
    endpoint.detach(old.endpoint, old.fd)

    host.guest(2, mac="02:00:00:00:00:02")

    def everybody_knows() -> bool:
        known = {witness.call(lambda: neighbour(address, "eth0")), neighbour(address, "brt0")}
        return known == {"02:00:00:00:00:02"}

    wait_for(everybody_knows, "the new MAC address is known")


@pytest.mark.parametrize("bridged_traffic_is_filtered", ["0", "1"])
@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
def test_a_container_reaches_itself_by_a_port_of_the_host(
    host, family, bridged_traffic_is_filtered
):
    """Its frames come back to the port they came from, if they never leave the bridge."""
    guest = host.guest(2)
    words = ("ip", "ip6")[family]
    setting = f"/proc/sys/net/bridge/bridge-nf-call-{('iptables', 'ip6tables')[family]}"
    write(setting, bridged_traffic_is_filtered)
    write(f"/proc/sys/net/{('ipv4/ip_forward', 'ipv6/conf/all/forwarding')[family]}", "1")
    gateway, address = nethosts.GATEWAYS[family], guest.addresses[family]
    quoted = f"[{address}]" if family else address
    nft(f"""
        table {words} test {{
            chain pre {{
                type nat hook prerouting priority dstnat
                {words} daddr {gateway} tcp dport 8080 dnat to {quoted}:80
            }}
            chain post {{
                type nat hook postrouting priority srcnat
                {words} saddr {address} {words} daddr {address} masquerade
            }}
        }}
    """)
    with guest.serve(address):
        guest.connect(gateway, 8080)


def nft(rules: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def write(path: str, value: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(value)
    except FileNotFoundError:
        pytest.skip(f"no {path} in this kernel")
