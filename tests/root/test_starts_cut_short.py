"""Starts whose command, monitor or runtime dies in the middle: all of it, or none of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runengine.cgroups import layout
from runengine.errors import Conflict, RuntimeFailed, Unavailable
from runengine.linux import pidfd
from runengine.mgr.container import start
from runengine.monitor.client import Connection
from tests.support import needs
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runengine import Engine
    from runengine.paths import Paths
    from tests.support.engines import Runner

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox")]

START = """
import os, signal, sys
sys.path.insert(0, {repository!r})
from runengine import Engine
from runengine.monitor.client import Connection
from runengine.paths import Paths
Connection.read_frame = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
engine = Engine.open(Paths({root!r}, {state!r}))
engine.config.runtimes["slow"] = [{slow!r}]
engine.containers.prepare_start()
monitor = engine.containers._spare.pid
print(monitor, flush=True)
if {stopped}:
    os.kill(monitor, signal.SIGSTOP)
engine.containers.start({container!r})
"""
"""A command that is killed when it has sent the job."""
SLOW = """#!/bin/sh
case "$*" in *" run "*) touch {begun}; sleep {delay_s};; esac
exec runc "$@"
"""


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """What a slow runtime makes when it begins."""
    return tmp_path / "begun"


@pytest.fixture
def slow(engine: Engine, runner: Runner, tmp_path: Path, begun: Path) -> Iterator[str]:
    """A container whose runtime takes its time."""
    script = tmp_path / "slow"
    script.write_text(SLOW.format(begun=begun, delay_s=600))
    script.chmod(0o755)
    engine.config.runtimes["slow"] = [str(script)]
    yield runner.create("sleep", "1000", Runtime="slow")
    del engine.config.runtimes["slow"]


def processes_of(container: str) -> list[int]:
    """Those that name the container on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if container in path.read_text(errors="replace"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def killed_start(paths: Paths, container: str, *, stopped: bool = False, slow: str = "") -> int:
    """Start with a command that is killed when it has sent the job; the monitor's pid.

    ``stopped``: it has not looked at the job yet.
    """
    code = START.format(
        repository=os.getcwd(),
        root=paths.root,
        state=paths.state,
        container=container,
        slow=slow,
        stopped=stopped,
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False)
    assert done.returncode == -signal.SIGKILL
    return int(done.stdout)


def test_a_start_under_way_is_no_start_that_never_was(
    runner: Runner, engine: Engine, shared_roots: Paths
) -> None:
    container = runner.create("sleep", "1000")
    monitor = killed_start(shared_roots, container, stopped=True)
    started = pidfd.start_time(monitor)
    assert started
    later = threading.Timer(0.3, os.kill, (monitor, signal.SIGCONT))
    later.start()
    try:
        with pytest.raises(Conflict, match="is not stopped"):
            engine.containers.remove(container)
    finally:
        later.join()
    assert engine.containers.inspect(container)["State"]["Running"]
    engine.containers.remove(container, force=True)
    wait_for(lambda: not pidfd.is_alive(monitor, started))


def test_a_killed_monitors_runtime_does_not_go_on(
    engine: Engine, slow: str, begun: Path
) -> None:
    monitor = start.spawn_monitor()
    _once(begun.exists, lambda: os.kill(monitor.pid, signal.SIGKILL))
    with pytest.raises(Unavailable, match="went away"):
        start.start(engine.containers._context, slow, monitor=monitor)
    assert processes_of(slow) == []
    assert engine.containers.inspect(slow)["State"]["Status"] == "created"


def test_an_interrupted_start_is_undone(
    engine: Engine, slow: str, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        wait_for(begun.exists)
        raise KeyboardInterrupt

    monkeypatch.setattr(Connection, "read_frame", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.containers.start(slow)
    assert processes_of(slow) == []
    assert engine.containers.inspect(slow)["State"]["Status"] == "created"


def test_a_removal_by_force_calls_a_start_off(
    engine: Engine, shared_roots: Paths, slow: str, begun: Path
) -> None:
    killed_start(shared_roots, slow, slow=engine.config.runtimes["slow"][0])
    wait_for(begun.exists)
    engine.containers.remove(slow, force=True)
    assert processes_of(slow) == []
    assert engine.containers.list(all=True) == []


@pytest.mark.parametrize(
    "profile",
    [
        {"defaultAction": "SCMP_ACT_KILL"},  # the runtime's init hangs, and so would the runtime
        {"defaultAction": "SCMP_ACT_KILL_PROCESS"},
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_KILL"}],
        },  # when the runtime has gone
    ],
)
def test_a_profile_that_kills_the_init_fails_the_start(
    engine: Engine, runner: Runner, profile: dict[str, object]
) -> None:
    container = runner.create("true", SecurityOpt=[f"seccomp={json.dumps(profile)}"])
    with pytest.raises(RuntimeFailed, match="its own seccomp profile"):
        engine.containers.start(container)
    assert engine.containers.inspect(container)["State"]["Status"] == "created"
    record = engine.store.containers.get(container)
    assert layout.procs(record.details["cgroup"]) == []


def test_a_runtime_that_somebody_stops_is_named(
    engine: Engine, slow: str, begun: Path
) -> None:
    def stop() -> None:
        for pid in processes_of(slow):
            os.kill(pid, signal.SIGSTOP)

    _once(begun.exists, stop)
    with pytest.raises(RuntimeFailed, match="somebody has stopped the runtime"):
        engine.containers.start(slow)
    assert processes_of(slow) == []


def _once(condition: Callable[[], bool], action: Callable[[], None]) -> None:
    """Do something beside the test's own work."""

    def work() -> None:
        wait_for(condition)
        action()

    threading.Thread(target=work, daemon=True).start()
