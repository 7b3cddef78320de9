"""The runtime's short commands, with a real runc."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runengine import errors
from runengine.runtime.runc import Runtime
from tests.support.capabilities import needs
from tests.support.monitors import Host, make_rootfs, wait_exit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, needs("runc", "busybox")]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path, make_rootfs(tmp_path / "rootfs"))
    yield made
    made.close()


def test_state_pause_kill(host: Host) -> None:
    job = host.job("sleep", "1000")
    started = host.detached(job)
    runtime = Runtime(host.runtime)
    assert runtime.state(job["id"])["status"] == "running"
    runtime.pause(job["id"])
    assert runtime.state(job["id"])["status"] == "paused"
    runtime.resume(job["id"])
    assert runtime.pids(job["id"]) == [started.pid]
    runtime.update(job["id"], {"memory": {"limit": 32 << 20}})
    with pytest.raises(errors.EngineError, match="not stopped"):
        runtime.delete(job["id"])
    wait_exit(job, kill_pid=started.pid)


def test_unknown_container(host: Host) -> None:
    runtime = Runtime(host.runtime)
    runtime.delete("nosuch", force=True)
    for command in (runtime.pause, runtime.resume, runtime.delete, runtime.state, runtime.pids):
        with pytest.raises(errors.NotFound, match="does not exist"):
            command("nosuch")


def test_features(host: Host) -> None:
    assert "CAP_CHOWN" in Runtime(host.runtime).features()["linux"]["capabilities"]


def test_runtime_that_hangs_or_is_missing(tmp_path: Path) -> None:
    program = tmp_path / "slow"
    program.write_text("#!/bin/sh\nexec sleep 5\n")
    program.chmod(0o755)
    with pytest.raises(errors.TimedOut, match="slow did not finish"):
        Runtime([str(program)], timeout_s=0.1).pause("c")
    with pytest.raises(errors.Unavailable, match="gone"):
        Runtime([str(tmp_path / "gone")]).pause("c")
