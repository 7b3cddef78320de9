"""Whatever dies, the next command sees what is, cleans up, and says unknown where nobody saw."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from runengine import Engine
from runengine.errors import EngineError, NotFound, TimedOut
from runengine.linux import pidfd
from runengine.mgr.container import stop
from runengine.mgr.container.runtime import runtime_of
from runengine.mgr.container.start import engine_command
from runengine.paths import Paths
from tests.support.engines import Runner
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, pytest.mark.needs("runc", "overlay", "busybox")]


def init_note(engine, container):
    with open(f"{engine.config.paths.container_state(container)}/init.json") as file:
        return json.load(file)


def kill_and_wait(pid, started):
    """SIGKILL one process that this test started and wait until it is gone."""
    fd = pidfd.open_verified(pid, started)
    assert fd is not None
    pidfd.send(fd, signal.SIGKILL)
    assert pidfd.wait(fd, 20)
    os.close(fd)


def kill_monitor(engine, container):
    note = init_note(engine, container)
    kill_and_wait(note["monitor_pid"], note["monitor_start_time"])
    return note


def left_of(engine, container):
    """Mounts and cgroups that name the container."""
    with open("/proc/self/mountinfo") as file:
        found = [line for line in file if container in line]
    for base, names, _ in os.walk("/sys/fs/cgroup"):
        found += [f"{base}/{name}" for name in names if container in name]
    return found


def test_a_killed_monitor_leaves_the_container_running(runner, engine):
    container = runner.start("sleep", "1000")
    kill_monitor(engine, container)
    assert engine.containers.inspect(container)["State"]["Running"]
    engine.containers.stop(container, timeout_s=0)
    state = engine.containers.inspect(container)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", None)
    assert "unknown" in state["Error"]
    assert left_of(engine, container) == []
    engine.containers.start(container)  # and it starts again
    assert engine.containers.inspect(container)["State"]["Running"]


def test_a_stopped_monitor_is_named_and_goes_on_by_force(runner, engine):
    container = runner.start("sleep", "1000")
    monitor = init_note(engine, container)["monitor_pid"]
    os.kill(monitor, signal.SIGSTOP)
    wait_for(lambda: pidfd.is_stopped(monitor))
    for action in (
        lambda: engine.containers.stop(container, timeout_s=0),
        lambda: engine.containers.kill(container),
        lambda: engine.containers.wait(container),
        lambda: runner.exec(container, "true"),
    ):
        with pytest.raises(TimedOut, match=f"kill -CONT {monitor}"):
            action()
    assert engine.containers.inspect(container)["State"]["Running"]
    engine.containers.remove(container, force=True)
    assert left_of(engine, container) == []


def test_monitor_and_container_killed_between_two_commands(runner, engine):
    container = runner.start("sleep", "1000")
    note = kill_monitor(engine, container)
    kill_and_wait(note["pid"], note["start_time"])
    listed = engine.containers.list(all=True)[0]
    assert listed["State"] == "exited"
    assert listed["Status"].startswith("Exited (unknown)")
    assert engine.containers.wait(container).exit_code is None
    assert left_of(engine, container) == []


def test_auto_remove_is_made_good_by_whoever_looks_next(runner, engine):
    container = runner.start("sleep", "1000", AutoRemove=True)
    note = kill_monitor(engine, container)
    kill_and_wait(note["pid"], note["start_time"])
    assert engine.containers.list(all=True) == []
    assert not os.path.exists(engine.config.paths.container(container))
    assert left_of(engine, container) == []


def test_a_reboot_forgets_what_ran(runner, engine, monkeypatch):
    # L-05: the pid may even be in use again
    container = runner.start("sleep", "1000")
    record = engine.store.containers.get(container)
    engine.containers.stop(container, timeout_s=0)
    os.unlink(f"{engine.config.paths.container(container)}/exit.json")
    mine = {"Pid": os.getpid(), "StartTime": pidfd.start_time(os.getpid()), "BootId": "older"}
    engine.store.containers.set_state(container, {**record.state, **mine})
    state = engine.containers.inspect(container)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", None)
    engine.containers.start(container)
    assert engine.containers.inspect(container)["State"]["Running"]


KILLED_RUN = """
import os, sys
sys.path.insert(0, {root!r})
import runengine.mgr.container.{module} as module
real = module.{function}
def dies(*args, **kwargs):
    if {after}:
        real(*args, **kwargs)
    os.kill(os.getpid(), 9)
module.{function} = dies
from runengine import Engine
from runengine.model import container_config, host_config
from runengine.paths import Paths
engine = Engine.open(Paths({paths[0]!r}, {paths[1]!r}))
config = {{**container_config("runengine/busybox"), "Cmd": ["sleep", "1000"]}}
host = {{**host_config(), "AutoRemove": {remove}, "NetworkMode": "none"}}
made = engine.containers.create("victim", config, host)
engine.containers.start(made.id)
"""


@pytest.mark.parametrize("remove", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("module", "function"),
    [
        ("create", "_make_directories"),
        ("start", "mount_rootfs"),
        ("start", "write_spec"),
        ("start", "_note_started"),
    ],
)
def test_a_command_killed_at_any_step_leaves_nothing_wrong(
    engine, shared_roots, module, function, after, remove
):
    # USER-ASKS test 2
    code = KILLED_RUN.format(
        root=os.getcwd(),
        module=module,
        function=function,
        after=after,
        remove=remove,
        paths=(shared_roots.root, shared_roots.state),
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    with Engine.open(shared_roots) as fresh:
        listed = fresh.containers.list(all=True)
        if module == "create":
            assert listed == []
        elif function == "_note_started":
            assert [entry["State"] for entry in listed] == ["running"]
            fresh.containers.stop("victim", timeout_s=0)
        else:
            assert [entry["State"] for entry in listed] == ["created"]
            fresh.containers.start("victim")
            assert fresh.containers.inspect("victim")["State"]["Running"]
            fresh.containers.kill("victim")
        time.sleep(0.05)
        for entry in fresh.containers.list(all=True):
            fresh.containers.remove(entry["Id"], force=True)
        assert left_of(fresh, "victim") == []
        assert not os.listdir(f"{shared_roots.root}/containers")


def test_a_create_killed_before_its_record_leaves_no_directory(engine):
    directory = engine.config.paths.container_state("ab" * 32)
    os.makedirs(directory)
    with open(f"{directory}/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        engine.containers.list()
        assert os.path.isdir(directory)  # somebody is at it
    engine.containers.list()
    assert not os.path.exists(directory)


def test_a_removal_cut_short_is_taken_up(runner, engine):
    # E-46
    container = runner.create("true")
    record = engine.store.containers.get(container)
    engine.store.containers.set_state(container, {**record.state, "Status": "removing"})
    assert engine.containers.list(all=True) == []
    with pytest.raises(NotFound):
        engine.containers.inspect(container)
    assert not os.path.exists(engine.config.paths.container(container))


def test_a_pause_that_comes_between_the_look_and_the_kill(runner, engine, monkeypatch):
    """The runtime of a killed ``pause`` does that: what is frozen acts on no signal."""
    container = runner.start("sleep", "1000")
    send = stop._send

    def send_late(context, record, fd, number):
        runtime_of(context, record).pause(record.id)
        send(context, record, fd, number)

    monkeypatch.setattr(stop, "_send", send_late)
    engine.containers.remove(container, force=True)
    assert left_of(engine, container) == []


@pytest.fixture
def small(tmp_path):
    """An engine on a disk of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "small", disk], check=True)
    with Engine.open(Paths(f"{disk}/root", f"{disk}/state")) as engine:
        engine.images.ensure_default()
        yield disk, engine
        (disk / "fill").unlink(missing_ok=True)
        for entry in engine.containers.list(all=True):
            engine.containers.remove(entry["Id"], force=True)
    subprocess.run(["umount", disk], check=True)


def fill(path):
    """Take all the room that there is."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))


def test_on_a_full_disk_everything_can_be_removed(small):
    """What gives room back has some kept for it."""
    disk, engine = small
    runner = Runner(engine)
    names = [runner.start("sleep", "1000"), runner.create("true"), runner.start("sleep", "1000")]
    fill(disk / "fill")
    with pytest.raises(EngineError, match="free some space"):
        runner.create("true")
    engine.containers.stop(names[0], timeout_s=0)
    for name in names:
        engine.containers.remove(name, force=True)
    assert engine.containers.list(all=True) == []
    assert [left for name in names for left in left_of(engine, name)] == []


def test_the_cleanup_command_is_harmless_at_any_time(runner, engine):
    container = runner.start("sleep", "1000")
    command = engine_command(engine.containers._context, "container", "cleanup", container)
    assert subprocess.run(command, check=False).returncode == 0
    assert engine.containers.inspect(container)["State"]["Running"]
    engine.containers.remove(container, force=True)
    assert subprocess.run(command, check=False).returncode == 0


def test_parallel_stops_kills_and_removals_of_one_container(runner, engine, shared_roots):
    # 0-8
    container = runner.start("sleep", "1000")
    verbs = ["stop -t 0", "kill", "rm -f", "restart -t 0", "pause", "rm -f", "start", "wait"]
    processes = [
        subprocess.Popen(
            engine_command(engine.containers._context, *verb.split(), container),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for verb in verbs
    ]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert b"Traceback" not in errors
        assert b"internal error" not in errors
        assert process.returncode in (0, 1)
    assert engine.containers.list(all=True) == []
    assert left_of(engine, container) == []
