"""Who is stopped and holds a container up: told to everybody, and let go on by force."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from runengine.errors import TimedOut
from runengine.linux import locks, pidfd
from runengine.mgr.check import containers
from runengine.mgr.check.world import World
from runengine.mgr.container import context as context_module
from runengine.mgr.container import observe, pending, recover, remove, stalled, stop, wait
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.side_effects

HOLD = """
import ctypes, fcntl, os, signal, sys
ctypes.CDLL(None).prctl(15, b"runengine-mon")
fcntl.flock(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)
print("held", flush=True)
signal.raise_signal(signal.SIGSTOP)
sys.stdin.read()
"""
"""A monitor, or a command, that has a lock and is stopped; it ends with its input."""


@pytest.fixture
def hold(context) -> Iterator[Callable[[str, str], int]]:
    """Start such a process on a container's lock; its pid."""
    begun = []

    def hold_one(container_id: str, name: str) -> int:
        directory = context.state_dir(container_id)
        os.makedirs(directory, exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", HOLD, f"{directory}/{name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        begun.append(process)
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        wait_for(lambda: pidfd.is_stopped(process.pid))
        note = {"monitor_pid": process.pid, "monitor_start_time": pidfd.start_time(process.pid)}
        if name == "monitor.lock":
            with open(f"{directory}/init.json", "w", encoding="ascii") as file:
                json.dump({"pid": 0, "start_time": 0, **note}, file)
        return process.pid

    yield hold_one
    for process in begun:
        process.send_signal(signal.SIGCONT)
        process.communicate()


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(recover, "STALL_S", 0.01)
    monkeypatch.setattr(context_module, "STALL_S", 0.05)
    monkeypatch.setattr(stop, "LOCK_PATIENCE_S", 0.05)


def running(pid: int) -> dict[str, object]:
    """The note of a container with this init, which is gone."""
    return {"Status": "running", "Pid": pid, "StartTime": 1, "BootId": "this"}


def test_a_stopped_monitor_is_named(context, add, hold):
    record = add("box", **running(1))
    pid = hold(record.id, "monitor.lock")
    for action in (
        lambda: stalled.refuse(context, record.id),
        lambda: recover.wait_for_monitor(context, record.id),
        lambda: stop.stop(context, "box"),
        lambda: remove.remove(context, "box", force=False),
    ):
        with pytest.raises(TimedOut) as caught:
            action()
        assert f"monitor (pid {pid}) is stopped" in str(caught.value)
        assert f"kill -CONT {pid}" in str(caught.value)


def test_a_monitor_that_has_written_nothing_yet_is_found_by_its_lock(context, add, hold):
    record = add("box")
    pid = hold(record.id, "monitor.lock")
    os.unlink(f"{context.state_dir(record.id)}/init.json")
    with pytest.raises(TimedOut, match=f"pid {pid}"):
        recover.wait_for_monitor(context, record.id)


def test_an_end_that_a_stopped_monitor_has_not_seen_is_shown_as_one(context, add, hold):
    record = add("box", **running(1))
    hold(record.id, "monitor.lock")
    state = observe.observe(context, record)
    assert (state["Status"], state["ExitCode"]) == ("exited", None)
    assert "is stopped" in state["Error"]


def test_its_exit_is_not_waited_for(context, add, hold, monkeypatch):
    record = add("box", **running(1))
    pid = hold(record.id, "monitor.lock")
    with pytest.raises(TimedOut, match=f"pid {pid}"):
        wait.wait(context, "box")
    restarting = {**record.state, "Status": pending.RESTARTING}
    monkeypatch.setattr(pending, "look", lambda *_: restarting)
    with pytest.raises(TimedOut, match=f"pid {pid}"):
        wait.wait(context, "box")


def test_the_check_finds_it_and_lets_it_go_on(context, add, hold):
    record = add("box", **running(1))
    pid = hold(record.id, "monitor.lock")
    (found,) = containers.asleep(World(context))
    assert (found.name, str(pid) in found.what) == ("box", True)
    assert found.repair
    found.repair()
    wait_for(lambda: not pidfd.is_stopped(pid))
    assert list(containers.asleep(World(context))) == []


def test_a_stopped_command_is_named_by_those_who_wait_for_it(context, add, hold):
    record = add("box")
    pid = hold(record.id, "lock")
    with (
        pytest.raises(TimedOut, match=f"which is stopped: runengine-mon .pid {pid}."),
        context.locked(record.id),
    ):
        pytest.fail("it is held")


def test_force_lets_a_stopped_command_go_on(context, add, hold):
    record = add("box")
    pid = hold(record.id, "lock")
    remove._hurry(context, record.id)
    wait_for(lambda: not pidfd.is_stopped(pid))


def test_force_ends_a_monitor_that_does_not_finish(context, add, hold, monkeypatch):
    record = add("box", Status="exited")
    pid = hold(record.id, "monitor.lock")
    monkeypatch.setattr(recover, "MONITOR_GRACE_S", 0.1)
    remove.remove(context, "box", force=True)
    assert context.find(record.id) is None
    assert not pidfd.is_alive(pid, pidfd.start_time(pid) or 0)


def test_a_running_monitor_is_no_reason(context, add):
    record = add("box")
    os.makedirs(context.state_dir(record.id))
    with locks.locked(f"{context.state_dir(record.id)}/monitor.lock"):
        stalled.refuse(context, record.id)
        assert stalled.explain(context, record.id) is None
    assert observe.stopped_monitor(context, record.id) == 0


def test_a_file_among_the_containers_directories_is_in_nobodys_way(context):
    """Whatever it is, a reader such as ``ps`` must not fail by it."""
    directory = f"{context.paths.state}/containers"
    os.makedirs(directory)
    with open(f"{directory}/stray", "w", encoding="ascii"):
        recover.sweep_orphans(context, set())
    assert os.path.exists(f"{directory}/stray")
