"""What a container on a bridge sees of the host's network, and what it takes to see more.

The firewall's own part is tested packet by packet in test_firewall_refused.py.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import needs
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.net_engines import NetEngine

pytestmark = [
    pytest.mark.root,
    needs("runc", "overlay", "busybox", "ip", "nft"),
]

PORT = 7000
ASK = f"echo | nc -w 2 127.0.0.1 {PORT} >/dev/null && echo through"
# As a container that may change its own network would have it (CVE-2020-8558).
AROUND = f"""
gateway=$(ip route | grep default | cut -d' ' -f3)
ip route del local 127.0.0.0/8 dev lo table local
ip route del local 127.0.0.1 dev lo table local
ip route add 127.0.0.0/8 via $gateway dev eth0
{ASK}
"""


@pytest.fixture
def service(net: NetEngine) -> Iterator[None]:
    """A web server that only the host itself is to reach."""
    words = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(PORT))
    null = subprocess.DEVNULL
    server = net.host.begin(*words, stdin=null, stdout=null, stderr=null)
    url = f"http://127.0.0.1:{PORT}/"
    wait_for(lambda: net.gets(url, by=net.host), "the server answers")
    yield
    server.kill()
    server.wait()


@pytest.mark.parametrize(
    ("flags", "script", "refused"),
    [
        ((), ASK, "Connection refused"),
        (("--privileged", "--sysctl", "net.ipv4.conf.all.route_localnet=1"), AROUND, "timed out"),
    ],
    ids=["as it is", "around"],
)
def test_a_service_on_the_hosts_loopback(
    net: NetEngine, service: None, flags: tuple[str, ...], script: str, refused: str
):
    done = net.cli.call(
        "run", "--rm", "--network", "bridge", *flags, "busybox", "sh", "-c", script
    )
    assert (done.code != 0, done.out) == (True, "")
    assert refused in done.err
    assert net.once("--network", "host", script=ASK) == "through"


def test_links_and_connections_of_the_host(net: NetEngine, service: None):
    script = "ls /sys/class/net; cat /proc/net/tcp"
    inside = net.once("--network", "bridge", script=script).splitlines()
    assert inside[:2] == ["eth0", "lo"]
    local = f":{PORT:04X} "
    assert not any(local in line for line in inside)
    of_host = net.once("--network", "host", script=script)
    assert "wire0" in of_host
    assert local in of_host


def test_an_address_of_somebody_elses(net: NetEngine):
    """Who may make addresses can take another's; who may not, cannot."""
    take = "ip address add 192.0.2.2/32 dev eth0 && echo through"
    done = net.cli.call("run", "--rm", "--network", "bridge", "busybox", "sh", "-c", take)
    assert (done.code != 0, done.out) == (True, "")
    assert "not permitted" in done.err
    assert net.once("--network", "bridge", "--cap-add", "NET_ADMIN", script=take) == "through"
