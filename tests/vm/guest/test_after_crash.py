"""What is found after a power cut: nothing was told to stop, nothing could be written down."""

from __future__ import annotations

import pytest

from tests.vm.guest.installed import is_active, ok, run, state, states, wait_until

pytestmark = pytest.mark.vm
RUNNING = ("always", "unless-stopped", "on-failure")


@pytest.fixture(scope="module", autouse=True)
def _settled() -> None:
    assert is_active("runengine.service")
    wait_until(lambda: {"running"} == {state(name)["Status"] for name in RUNNING})


def test_the_rest_stays_down_and_no_code_is_invented():
    found = states("no", "unless-stopped-by-hand")
    assert {entry["State"]["Status"] for entry in found.values()} == {"exited"}
    assert found["no"]["State"]["ExitCode"] != 0
    assert found["unless-stopped-by-hand"]["State"]["ExitCode"] == 7


def test_one_broken_container_is_named_and_can_be_removed():
    text = run("journalctl", "--no-pager", "-b", "-o", "cat", "--unit=runengine.service")
    assert "broken" in text or ok("inspect", "--format", "{{.Id}}", "broken")[:12] in text
    assert "Traceback" not in text
    ok("rm", "-f", "broken")


def test_logs_are_readable_and_go_on():
    for name in RUNNING:
        assert ok("logs", name).split()[0] == "1"
    ok("rm", "-f", *RUNNING)
