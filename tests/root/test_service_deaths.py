"""What the service does when a process of ours dies a violent death."""

from __future__ import annotations

import json

import pytest

from runengine.linux import pidfd
from tests.support import needs
from tests.support.command_line import WarmCommandLine
from tests.support.restarts import kill
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox")]


@pytest.fixture(scope="module")
def warm(tmp_path_factory, busybox_tar):
    shared = WarmCommandLine(tmp_path_factory.mktemp("deaths"))
    shared.ok("import", str(busybox_tar), "busybox")
    yield shared
    shared.close()


def running_pid(warm: WarmCommandLine, name: str) -> int:
    found = json.loads(warm.ok("inspect", "-f", "{{json .State}}", name))
    return int(found["Pid"]) if found["Status"] == "running" else 0


def kill_now(pid: int) -> None:
    kill(pid, pidfd.start_time(pid) or 0)


def monitor_of(warm: WarmCommandLine, name: str) -> int:
    container = warm.ok("inspect", "-f", "{{.Id}}", name).strip()
    return int(json.loads((warm.state / "containers" / container / "init.json").read_text())
               ["monitor_pid"])  # fmt: skip


def test_a_policy_holds_although_the_monitor_was_killed(warm):
    """U-04: nobody was left who could have run the on-exit command."""
    warm.ok("run", "-d", "--name", "kept", "--network", "none", "--restart", "always",
            "busybox", "sleep", "600")  # fmt: skip
    first, monitor = running_pid(warm, "kept"), monitor_of(warm, "kept")
    kill_now(monitor)
    kill_now(first)
    wait_for(lambda: running_pid(warm, "kept") not in (0, first))
    warm.ok("rm", "-f", "kept")


def test_a_container_to_be_removed_goes_although_its_monitor_was_killed(warm):
    warm.ok("run", "-d", "--rm", "--name", "going", "--network", "none", "busybox", "sleep", "600")
    first, monitor = running_pid(warm, "going"), monitor_of(warm, "going")
    kill_now(first)
    kill_now(monitor)
    wait_for(warm.is_empty)


def test_the_service_says_nothing_of_it(warm):
    assert "unknown command" not in warm.log.read_text()
    assert "Traceback" not in warm.log.read_text()
