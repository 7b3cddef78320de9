"""Who runs after an orderly reboot, and how the shutdown went."""

from __future__ import annotations

import pytest

from tests.vm.guest import wires
from tests.vm.guest.installed import UNITS, is_active, ok, run, state, states, wait_until
from tests.vm.guest.wires import HOST_IP, get, get_from

pytestmark = pytest.mark.vm
RUNNING = ("always", "always-by-hand", "unless-stopped", "on-failure", "deaf", "paused",
           "own-signal", "guest-of", "web", "peer")  # fmt: skip
NOT_RUNNING = ("no", "no-by-hand", "unless-stopped-by-hand", "on-failure-by-hand",
               "never-started")  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _settled() -> None:
    """The service starts them one after the other, and says that it is up before that."""
    assert is_active("runengine.service")
    wait_until(lambda: {"running"} == {state(name)["Status"] for name in RUNNING})


def test_those_run_that_their_policy_wants():
    found = {name: entry["State"]["Status"] for name, entry in states(*NOT_RUNNING).items()}
    never = found.pop("never-started")
    assert never == "created"
    assert set(found.values()) == {"exited"}


def test_ends_are_known_and_were_orderly():
    found = states("no", "no-by-hand", "unless-stopped-by-hand")
    assert {entry["State"]["ExitCode"] for entry in found.values()} == {7}


@pytest.mark.parametrize("name", ["no", "always", "unless-stopped", "on-failure"])
def test_each_was_asked_to_go_and_said_goodbye(name):
    """Before the boot it counted from 1 and said goodbye; then, if at all, from 1 again."""
    first, bye, second = ok("logs", name).partition("bye\n" if name != "no" else "bye")
    assert bye
    count = first.split()
    assert count == [str(number) for number in range(1, len(count) + 1)]
    assert ("1" in second.split()) == (name != "no")


def test_each_got_its_own_signal():
    assert ok("logs", "own-signal").splitlines()[0] == "usr1"


def test_a_joined_network_came_first():
    assert state("guest-of")["StartedAt"] > state("always")["StartedAt"]
    assert ok("logs", "guest-of").count("LOOPBACK") == 2


def test_addresses_ports_and_names_are_back():
    wires.lay()
    assert wires.address("web") == "10.77.0.80"
    assert get(f"http://{HOST_IP}:8080/") == "web"
    assert get_from("peer", "http://site/") == "web"
    assert len(wires.resolvers()) == 1
    address = wires.address("always", "bridge")
    assert get_from("peer", f"http://{HOST_IP}:8080/") == "web"
    assert address == ok("exec", "always", "hostname", "-i")


def test_the_shutdown_was_clean():
    """Nothing had to be killed, nothing was waited for in vain, no mount was busy."""
    words = ["journalctl", "--no-pager", "-b", "-1", "-o", "cat"]
    # Of the boot's own tests some end sessions: only what came after them is the shutdown.
    text = run(*words).rpartition("test_before_reboot.py")[2]
    for word in ("Failed unmounting", "timed out", "Killing process"):
        assert word not in text
    ours = run(*words, *(f"--unit={unit}" for unit in UNITS))
    assert "Traceback" not in ours
    assert "runengine-containers.service: Deactivated successfully" in ours


def test_the_journal_of_the_boot_has_no_complaints():
    words = ["journalctl", "--no-pager", "-b", "-o", "cat", *(f"--unit={unit}" for unit in UNITS)]
    assert "Traceback" not in run(*words)
    assert run(*words, "--priority=warning") in ("", "-- No entries --")
