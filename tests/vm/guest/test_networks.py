"""Networks of the installed service, on this kernel and this nft: nothing hangs on the service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.vm.guest import installed, wires
from tests.vm.guest.installed import (
    ok,
    run,
    start,
    state,
    systemctl,
    wait_until,
)
from tests.vm.guest.wires import HOST_IP, NETWORK, get, get_from, left, mentions, resolvers, web

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.vm


@pytest.fixture
def mine(clean: str) -> Iterator[str]:
    """A network of the user's, with the world outside at the other end of a wire; its bridge."""
    wires.lay()
    wires.ensure_network()
    device = wires.device()
    yield device
    installed.remove_all()
    ok("network", "rm", NETWORK)
    assert left(device, "10.77.") == []
    wait_until(lambda: not resolvers())


def test_the_default_network(clean):
    wires.lay()
    web("web", "-p", "8080:80")
    address = wires.address("web", "bridge")
    assert get(f"http://{HOST_IP}:8080/") == "web"
    for where in (f"{HOST_IP}:8080", "127.0.0.1:8080", address):
        assert get(f"http://{where}/", outside=False) == "web"
    start("other", "sleep 1000", "--stop-signal=KILL")
    for where in (f"{HOST_IP}:8080", address):
        assert get_from("other", f"http://{where}/") == "web"
    assert not resolvers()  # there are no names here, as with Docker
    ok("rm", "-f", "web", "other")
    assert left(":8080", " 8080", address) == []


def test_networks_do_not_hang_on_the_service(mine):
    """Addresses, ports and names hold while it is stopped and started again."""
    web("web", "--network", NETWORK, "--network-alias", "site", "-p", "8080:80")
    start("peer", "sleep 1000", "--network", NETWORK, "--stop-signal=KILL")
    before = [(state(name)["Pid"], wires.address(name)) for name in ("web", "peer")]
    (resolver,) = resolvers()
    prove_apart(resolver)

    def prove() -> None:
        assert get(f"http://{HOST_IP}:8080/") == "web"
        assert get_from("peer", "http://site/") == "web"
        assert [(state(name)["Pid"], wires.address(name)) for name in ("web", "peer")] == before
        assert resolvers() == [resolver]

    prove()
    systemctl("stop", "runengine.socket", "runengine.service")
    prove()
    # What changes without the service is as right.
    web("late", "--network", NETWORK, "-p", "8081:80")
    assert get(f"http://{HOST_IP}:8081/") == "late"
    assert get_from("peer", "http://late/") == "late"
    ok("stop", "late")
    assert mentions(" 8081", ":8081") == []
    systemctl("start", "runengine.socket", "runengine.service")
    prove()


def prove_apart(resolver: int) -> None:
    """It is in no unit's control group, and no worker's child."""
    group = Path(f"/proc/{resolver}/cgroup").read_text()
    assert group == "0::/runengine/monitors\n"
    status = Path(f"/proc/{resolver}/status").read_text().splitlines()
    assert "PPid:\t1" in status


def test_a_dead_resolver_and_a_flushed_firewall_come_back(mine):
    web("web", "--network", NETWORK, "-p", "8080:80")
    (resolver,) = resolvers()
    run("kill", "-KILL", str(resolver))
    run("nft", "flush", "ruleset")
    ok("network", "reload")
    assert get(f"http://{HOST_IP}:8080/") == "web"
    start("peer", "sleep 1000", "--network", NETWORK, "--stop-signal=KILL")
    assert get_from("peer", "http://web/") == "web"
    assert len(resolvers()) == 1
