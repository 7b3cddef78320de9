"""What is found after a power cut: nothing was told to stop, nothing could be written down."""

from __future__ import annotations

import pytest

from tests.vm.guest import wires
from tests.vm.guest.installed import is_active, ok, run, state, states, wait_until
from tests.vm.guest.wires import HOST_IP, NETWORK, get, get_from, left, web

pytestmark = pytest.mark.vm
RUNNING = ("always", "unless-stopped", "on-failure", "web")


@pytest.fixture(scope="module", autouse=True)
def _settled() -> None:
    assert is_active("runengine.service")
    wait_until(lambda: {"running"} == {state(name)["Status"] for name in RUNNING})


def test_the_rest_stays_down_and_no_code_is_invented():
    found = states("no", "unless-stopped-by-hand")
    assert {entry["State"]["Status"] for entry in found.values()} == {"exited"}
    assert found["no"]["State"]["ExitCode"] is None
    assert found["unless-stopped-by-hand"]["State"]["ExitCode"] == 7


def test_one_broken_container_is_named_and_can_be_removed():
    text = run("journalctl", "--no-pager", "-b", "-o", "cat", "--unit=runengine.service")
    assert "broken" in text or ok("inspect", "--format", "{{.Id}}", "broken")[:12] in text
    assert "Traceback" not in text
    ok("rm", "-f", "broken")


def test_logs_are_readable_and_go_on():
    for name in ("always", "unless-stopped", "on-failure"):
        assert ok("logs", name).split()[0] == "1"


def test_the_network_works_and_what_the_dead_had_is_free():
    wires.lay()
    device = wires.device()
    assert get(f"http://{HOST_IP}:8080/") == "web"
    web("heir", "--network", NETWORK, "--ip", "10.77.0.90", "-p", "9090:80")
    assert get(f"http://{HOST_IP}:9090/") == "heir"
    assert get_from("heir", "http://site/") == "web"
    ok("rm", "-f", "heir", "gone", *RUNNING)
    ok("network", "rm", NETWORK)
    assert left(device, "10.77.", " 8080", " 9090") == []
    wait_until(lambda: not wires.resolvers())
