"""Many attach to one bridge at once: none fails, and none waits for a lock of ours."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runengine.netns import endpoint, namespace
from tests.support import nethosts
from tests.support.capabilities import needs

pytestmark = [pytest.mark.root, needs("ip")]

ROOT = Path(__file__).resolve().parents[2]
COUNT = 16


@pytest.fixture
def host():
    with nethosts.bridged_host() as opened:
        yield opened


def test_threads(host):
    """Workers' threads are where the machine is, so each enters the host first."""

    def start(number: int) -> nethosts.Guest:
        with namespace.entered(host.fd):
            wanted = nethosts.on_bridge(number)
            netns_fd = namespace.new()
            endpoint.attach(wanted, netns_fd)
            return nethosts.Guest(netns_fd, wanted)

    with ThreadPoolExecutor(COUNT) as pool:
        guests = list(pool.map(start, range(2, 2 + 3 * COUNT)))
    for address in nethosts.GATEWAYS:
        with nethosts.listener(address, 80):
            for guest in guests:
                guest.connect(address)
    with ThreadPoolExecutor(COUNT) as pool:
        list(pool.map(lambda guest: stop(host, guest), guests))
    for guest in guests:
        nethosts.wait_until_gone(guest.endpoint.host_name)


def stop(host: nethosts.Host, guest: nethosts.Guest) -> None:
    os.close(guest.fd)
    with namespace.entered(host.fd):
        endpoint.delete_host_end(guest.endpoint.host_name)


SCRIPT = textwrap.dedent("""
    import sys
    from runengine.netns import bridge, endpoint, namespace
    from tests.support import nethosts
    bridge.ensure(nethosts.BRIDGE)
    for number in range(int(sys.argv[1]), int(sys.argv[1]) + 3):
        wanted = nethosts.on_bridge(number)
        netns_fd = namespace.new()
        endpoint.attach(wanted, netns_fd)
        guest = nethosts.Guest(netns_fd, wanted)
        for address in nethosts.GATEWAYS:
            guest.connect(address)
""")


def test_processes(host):
    listeners = [nethosts.listener(address, 80) for address in nethosts.GATEWAYS]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(2 + 3 * number)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(COUNT)
    ]
    outcomes = [(process.communicate()[1], process.returncode) for process in processes]
    for sock in listeners:
        sock.close()
    assert outcomes == [("", 0)] * COUNT
