"""What is, whatever was noted: the kernel's word and the monitor's records decide."""

import json
import os

import pytest

from runengine.linux import clock, pidfd
from runengine.linux.locks import locked
from runengine.mgr.container import observe


def live_state(**changes):
    """The note of a container whose init is this very process."""
    pid = os.getpid()
    return {
        "Status": "running",
        "Pid": pid,
        "StartTime": pidfd.start_time(pid),
        "BootId": clock.boot_id(),
        **changes,
    }


@pytest.fixture
def write_note(context):
    def write(directory, name, document):
        os.makedirs(directory, exist_ok=True)
        with open(f"{directory}/{name}", "w") as file:
            json.dump(document, file)

    return write


def test_running_while_the_very_process_lives(context, add):
    record = add("one", **live_state())
    assert observe.observe(context, record) is record.state


def test_a_reused_pid_is_not_the_container(context, add):
    # D-01, USER-ASKS 20
    record = add("one", **live_state(StartTime=1))
    state = observe.observe(context, record)
    assert (state["Status"], state["ExitCode"], state["Pid"]) == ("exited", None, 0)
    assert "unknown" in state["Error"]


def test_a_pid_of_another_boot_is_not_the_container(context, add):
    # L-05
    record = add("one", **live_state(BootId="another"))
    assert observe.observe(context, record)["ExitCode"] is None


def test_the_exit_record_tells_code_and_times(context, add, write_note):
    # C-21, E-35
    record = add("one", **live_state(StartTime=1))
    write_note(
        context.data_dir(record.id),
        "exit.json",
        {
            "exit_code": 137,
            "signal": 9,
            "oom_killed": True,
            "oom_kills": 2,
            "started_at": "2026-01-01T00:00:00Z",
            "finished_at": "2026-01-01T00:00:09Z",
            "cpu_ns": 5,
            "memory_peak_bytes": 6,
            "error": "",
        },
    )
    state = observe.observe(context, record)
    assert (state["ExitCode"], state["Signal"], state["OOMKilled"]) == (137, 9, True)
    assert state["FinishedAt"] == "2026-01-01T00:00:09Z"
    assert (state["CpuNs"], state["MemoryPeakBytes"], state["OOMKills"]) == (5, 6, 2)


def test_a_torn_exit_record_is_an_unknown_code_not_zero(context, add, write_note):
    # USER-ASKS 21
    record = add("one", **live_state(StartTime=1))
    write_note(context.data_dir(record.id), "exit.json", {})
    with open(observe.exit_paths(context, record.id)[0], "w") as file:
        file.write('{"exit_code": 0')
    assert observe.observe(context, record)["ExitCode"] is None


@pytest.mark.parametrize("junk", ["x", [], {}, True, None])
def test_a_damaged_exit_record_tells_nothing_wrong(context, add, write_note, junk):
    record = add("one", **live_state(StartTime=1))
    names = ("exit_code", "signal", "started_at", "finished_at", "ran_s", "cpu_ns", "oom_kills")
    write_note(context.data_dir(record.id), "exit.json", dict.fromkeys(names, junk))
    state = observe.observe(context, record)
    assert (state["Status"], state["ExitCode"], state["Signal"]) == ("exited", None, None)
    assert clock.parse_ns(state["FinishedAt"])
    assert state["StartedAt"] == record.state["StartedAt"]


@pytest.mark.parametrize(
    "note", ["x", [], {"pid": "1", "start_time": 2}, {"pid": 1 << 70, "start_time": 1}, {"pid": 1}]
)
def test_a_damaged_note_of_the_init_is_none(context, add, write_note, note):
    record = add("one", **live_state())
    write_note(context.state_dir(record.id), "init.json", note)
    assert observe.observe(context, record) is record.state
    assert observe.stopped_monitor(context, record.id) == 0


def test_a_directory_in_a_notes_place_is_none(context, add):
    record = add("one", **live_state())
    os.makedirs(f"{context.state_dir(record.id)}/init.json")
    assert observe.observe(context, record) is record.state


@pytest.mark.side_effects
def test_dead_but_its_monitor_still_records(context, add):
    # T-04: the lock is another process's
    record = add("one", **live_state(StartTime=1))
    directory = context.state_dir(record.id)
    os.makedirs(directory)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with locked(f"{directory}/monitor.lock"):
            os.write(writing, b"x")
            os.read(reading, 0)
            import time

            time.sleep(60)
    os.read(reading, 1)
    try:
        assert observe.observe(context, record)["Status"] == "running"
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)
    assert observe.observe(context, record)["Status"] == "exited"


def test_a_start_that_died_before_its_note_still_runs(context, add, write_note):
    # Truth: the command was killed between the runtime's start and the database
    record = add("one")
    live = live_state()
    write_note(
        context.state_dir(record.id),
        "init.json",
        {"pid": live["Pid"], "start_time": live["StartTime"]},
    )
    state = observe.observe(context, record)
    assert (state["Status"], state["Pid"]) == ("running", os.getpid())


@pytest.mark.parametrize(
    ("controller", "name", "frozen", "thawed"),
    [
        ("freezer", "freezer.state", "FROZEN\n", "THAWED\n"),
        ("unified", "cgroup.freeze", "1\n", "0\n"),
    ],
)
def test_paused_is_what_the_freezer_says(
    context, add, tmp_path, controller, name, frozen, thawed
):
    # D-10, D-11
    record = add("one", details={"cgroup": {controller: str(tmp_path)}}, **live_state())
    (tmp_path / name).write_text(frozen)
    assert observe.observe(context, record)["Status"] == "paused"
    (tmp_path / name).write_text(thawed)
    assert observe.observe(context, record)["Status"] == "running"
