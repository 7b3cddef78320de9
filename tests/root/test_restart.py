"""Restart policies with a real runtime: back-off, what calls it off, what changes it."""

import os
import subprocess
import threading

import pytest

from runengine.errors import Conflict, EngineError
from runengine.linux import pidfd
from runengine.mgr.container import pending
from runengine.mgr.container import policy as policy_module
from runengine.mgr.container.start import engine_command
from runengine.model import exec_config
from runengine.monitor.protocol import AttachOptions
from runengine.store.containers import Restarts
from tests.support.engines import collect, logs
from tests.support.restarts import (
    await_status,
    back_off,
    count,
    kill,
    kill_monitor,
    policy,
    state,
)
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, pytest.mark.needs("runc", "overlay", "busybox")]


# Its first run ends when it is told to, all others at once.
FAILING = """
[ -e /again ] && exit 1
touch /again; trap 'exit 1' USR1; echo ready
while :; do sleep 0.05; done
"""


@pytest.fixture
def looping(runner, engine):
    """A container that has failed four times, as the engine sees it, in the long wait after it."""
    container = runner.start("sh", "-c", FAILING, name="looping", **policy("always"))
    wait_for(lambda: b"ready" in logs(engine, container))
    engine.store.containers.set_desired(container, policy_module.RUNNING, Restarts(3, 1.6))
    engine.containers.kill(container, "USR1")
    yield container, back_off(engine, container)
    if engine.containers.list(all=True):
        engine.containers.remove(container, force=True)


def is_over(note):
    return not pidfd.is_alive(note.pid, note.start_time)


# Running


def test_it_runs_again_and_again_and_shows_it(runner, engine):
    # U-04, C-20
    container = runner.start("false", **policy("always"))
    note = back_off(engine, container)
    found = state(engine, container)
    assert (found["Status"], found["Running"], found["Restarting"]) == ("restarting", True, True)
    assert (found["Pid"], found["ExitCode"]) == (0, 1)
    (entry,) = engine.containers.list()
    assert entry["State"] == "restarting"
    assert entry["Status"].startswith("Restarting (1) ")
    assert engine.containers.list(filters={"status": ["restarting"]})
    assert not engine.containers.list(filters={"status": ["exited", "running"]})
    assert pidfd.is_alive(note.pid, note.start_time)


def test_on_failure_up_to_its_limit(runner, engine):
    # U-04
    container = runner.start("sh", "-c", "exit 3", **policy("on-failure:2"))
    wait_for(lambda: count(engine, container) == 2)
    await_status(engine, container, "exited")
    assert count(engine, container) == 2
    assert state(engine, container)["ExitCode"] == 3


def test_on_failure_leaves_a_success_alone(runner, engine):
    container = runner.start("true", **policy("on-failure"))
    await_status(engine, container, "exited")
    assert count(engine, container) == 0
    assert pending.find(engine.containers._context, container) is None


def test_a_signal_that_is_no_stop_is_an_exit_like_others(runner, engine):
    script = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done"
    container = runner.start("sh", "-c", script, **policy("unless-stopped"))
    wait_for(lambda: b"ready" in logs(engine, container))
    engine.containers.kill(container, "USR1")
    wait_for(lambda: count(engine, container) == 1)
    await_status(engine, container, "running")


@pytest.mark.parametrize("number", ["KILL", "TERM"])
def test_kill_and_the_stop_signal_are_the_user_s_will(runner, engine, number):
    # U-05, E-37
    script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    container = runner.start("sh", "-c", script, **policy("always"))
    wait_for(lambda: b"ready" in logs(engine, container))
    assert engine.containers.inspect(container)["Runengine"]["Desired"] == "running"
    engine.containers.kill(container, number)
    assert engine.containers.inspect(container)["Runengine"]["Desired"] == "stopped"
    await_status(engine, container, "exited")
    engine.containers.cleanup(container)
    assert state(engine, container)["Status"] == "exited"
    assert count(engine, container) == 0


def test_a_paused_container_that_is_killed_stays_down(runner, engine):
    container = runner.start("sleep", "1000", **policy("always"))
    engine.containers.pause(container)
    engine.containers.kill(container)
    assert state(engine, container)["Status"] == "exited"


def test_an_attached_run_ends_with_the_first_exit(runner, engine):
    container = runner.create("sh", "-c", "echo out; exit 4", **policy("always"))
    connection = engine.containers.start(container, attach=AttachOptions())
    with connection:
        code, streams = collect(connection)
        assert (code, streams[1]) == (4, b"out\n")
        assert not connection.take_over()
    wait_for(lambda: count(engine, container) >= 1)


def test_wait_returns_at_the_first_exit(runner, engine):
    # E-41
    container = runner.create("sh", "-c", "sleep 0.3; exit 5", **policy("always"))
    engine.containers.start(container)
    assert engine.containers.wait(container).exit_code == 5


def test_wait_during_the_back_off_is_for_the_next_exit(engine, looping, monkeypatch):
    container, _ = looping
    begun, look = threading.Event(), pending.look

    def look_and_tell(*args):
        found = look(*args)
        begun.set()
        return found

    monkeypatch.setattr(pending, "look", look_and_tell)
    waiting = threading.Thread(target=engine.containers.wait, args=(container,))
    waiting.start()
    assert begun.wait(30)
    assert state(engine, container)["Status"] == "restarting"
    engine.containers.start(container)
    waiting.join(30)
    assert not waiting.is_alive()


def test_logs_are_followed_over_restarts(runner, engine):
    container = runner.start("sh", "-c", "echo again; exit 1", **policy("on-failure:3"))
    found = []
    engine.containers.logs(
        container,
        emit=lambda _, data: found.append(bytes(data)),
        stdout=True,
        stderr=True,
        follow=True,
    )
    assert b"".join(found) == b"again\n" * 4


def test_a_start_between_two_looks_is_no_end(runner, engine, monkeypatch):
    """Whoever waited for the restart is gone by then, as after a last exit."""
    container = runner.start("sh", "-c", "exit 1", **policy("always"))
    context = engine.containers._context
    between: list[pending.Note] = []

    def look():
        note = back_off(engine, container)

        def find(*_):
            patch.undo()
            kill(note.pid, note.start_time)
            engine.containers.start(container)
            between.append(note)

        # For this look only: an operation that holds the lock must never come by here.
        with monkeypatch.context() as patch:
            patch.setattr(pending, "find", find)
            return pending.look(context, context.store.containers.get(container))

    while not between:  # on a busy host the restart may be under way before we look
        found = look()
    assert found["Status"] in ("running", "restarting")
    engine.containers.remove(container, force=True)


# Calling it off


@pytest.mark.parametrize("act", ["stop", "kill", "rm", "start", "restart", "halt", "update"])
def test_the_user_calls_a_restart_off(engine, looping, act):
    # U-07
    container, note = looping
    containers = engine.containers
    if act == "rm":
        containers.remove(container, force=True)
    elif act == "halt":
        assert not containers.halt()
        os.unlink(f"{engine.config.paths.state}/halting")
    elif act == "update":
        containers.update(container, restart_policy=policy_module.parse("no"))
    else:
        getattr(containers, act)(container)
    wait_for(lambda: is_over(note))
    if act in ("start", "restart"):
        assert count(engine, container) < 4  # counted anew
    elif act != "rm":
        assert state(engine, container)["Status"] == "exited"
        assert not containers.list()


def test_what_makes_no_sense_between_two_runs(engine, looping):
    container, note = looping
    containers = engine.containers
    waits = "is restarting, wait until the container is running"
    for words, act in {
        "stop the container before removing or force remove": containers.remove,
        f"looping {waits}": lambda name: containers.create_exec(name, exec_config(["true"])),
        "cannot attach to a restarting container": lambda name: containers.attach(
            name, AttachOptions()
        ),
        waits: containers.top,
        "Container looping is": containers.pause,
        "Container looping": lambda name: containers.kill(name, "USR1"),
        "restarting": lambda name: containers.resize(name, 10, 10),
    }.items():
        with pytest.raises(Conflict, match=words):
            act(container)
    with pytest.raises(Conflict, match="is not paused"):
        containers.unpause(container)
    assert not is_over(note)


# Changing the policy


def test_a_new_policy_counts_from_the_next_exit(runner, engine):
    # U-08, E-56
    script = "trap 'exit 0' USR1; echo ready; while :; do sleep 0.05; done"
    container = runner.start("sh", "-c", script)
    wait_for(lambda: b"ready" in logs(engine, container))
    assert not engine.containers.update(container, restart_policy=policy_module.parse("always"))
    engine.containers.kill(container, "USR1")
    wait_for(lambda: count(engine, container) == 1)
    await_status(engine, container, "running")
    wait_for(lambda: logs(engine, container).count(b"ready") == 2)
    engine.containers.update(container, restart_policy=policy_module.parse("no"))
    engine.containers.kill(container, "USR1")
    await_status(engine, container, "exited")
    assert pending.find(engine.containers._context, container) is None


def test_a_stopped_container_s_policy_starts_nothing(runner, engine):
    container = runner.start("true")
    await_status(engine, container, "exited")
    engine.containers.update(container, restart_policy=policy_module.parse("always"))
    assert engine.containers.inspect(container)["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert state(engine, container)["Status"] == "exited"


def test_update_without_a_monitor_says_when_it_counts(runner, engine):
    container = runner.start("sleep", "1000")
    kill_monitor(engine, container)
    (warning,) = engine.containers.update(
        container, restart_policy=policy_module.parse("always")
    )
    assert "without a monitor" in warning


def test_a_policy_and_rm_exclude_each_other(runner, engine):
    with pytest.raises(EngineError, match="AutoRemove"):
        runner.create("true", AutoRemove=True, **policy("always"))
    container = runner.create("true", AutoRemove=True)
    with pytest.raises(Conflict, match="AutoRemove is enabled"):
        engine.containers.update(container, restart_policy=policy_module.parse("always"))
    with pytest.raises(EngineError, match="unknown policy 'x'"):
        runner.create("true", RestartPolicy={"Name": "x", "MaximumRetryCount": 0})


def test_the_commands(cli):
    assert "cannot specify both --restart and --rm" in cli.call(
        "run", "--rm", "--restart", "always", "busybox", "true"
    ).err
    done = cli.call("create", "--restart", "on-failure:x", "busybox", "true")
    assert (done.code, "maximum retry count must be an integer" in done.err) == (125, True)
    for name in ("one", "two"):
        cli.ok("run", "-d", "--name", name, "busybox", "sleep", "1000")
    assert cli.ok("update", "--restart", "on-failure:2", "one", "two") == "one\ntwo"
    form = "{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}"
    assert cli.ok("inspect", "-f", form, "one", "two") == "on-failure:2\non-failure:2"
    assert "provide one or more flags" in cli.call("update", "one").err
    assert cli.call("update", "--restart", "always", "one", "nobody").out == "one\n"
    assert cli.call("update", "--memory", "1x", "one").code == 125
    assert "halt" not in cli.ok("system", "--help")
    cli.ok("run", "-d", "--name", "loop", "--restart", "always", "busybox", "false")
    wait_for(lambda: "Restarting (1)" in cli.ok("ps", "--filter", "status=restarting"))
    cli.ok("stop", "loop")
    assert cli.state_of("loop") == "exited"


# Things going wrong


def bind(source):
    """A mount whose source must exist; ``-v`` would make it."""
    return {"Type": "bind", "Source": str(source), "Target": "/mnt"}


def test_a_start_that_fails_is_tried_again(runner, engine, tmp_path):
    # L-05, E-26: the bind's source has gone, and comes back
    source = tmp_path / "source"
    source.mkdir()
    script = "sleep 0.2; exit 1"
    container = runner.start(
        "sh", "-c", script, Mounts=[bind(source)], **policy("on-failure:9")
    )
    source.rmdir()
    wait_for(lambda: count(engine, container) >= 3)
    found = state(engine, container)
    assert found["Status"] == "restarting"
    assert str(source) in found["Error"]
    assert found["ExitCode"] == 128
    source.mkdir()
    await_status(engine, container, "running")
    assert state(engine, container)["Error"] == ""


def test_starts_that_fail_are_counted_to_the_limit(runner, engine, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    container = runner.start("false", Mounts=[bind(source)], **policy("on-failure:3"))
    source.rmdir()
    wait_for(lambda: count(engine, container) == 3)
    await_status(engine, container, "exited")
    assert str(source) in state(engine, container)["Error"]


def test_a_command_that_has_gone(runner, engine):
    script = "rm /bin/sleep /bin/sh; exit 1"
    container = runner.start("/bin/sh", "-c", script, **policy("on-failure:2"))
    wait_for(lambda: count(engine, container) == 2)
    await_status(engine, container, "exited")
    assert state(engine, container)["ExitCode"] == 127


def test_who_waits_is_killed(engine, looping):
    # USER-ASKS 23
    container, note = looping
    kill(note.pid, note.start_time)
    assert state(engine, container)["Status"] == "exited"
    before = count(engine, container)
    engine.containers.cleanup(container)
    assert count(engine, container) == before + 1


def test_many_cleanups_are_one_start(engine, runner):
    # A reconcile storm: everybody finds the same exit at the same time
    marker = "echo begun; sleep 1000"
    container = runner.start("sh", "-c", marker, **policy("always"))
    note = kill_monitor(engine, container)
    kill(note["pid"], note["start_time"])
    context = engine.containers._context
    commands = [
        engine_command(context, "container", "cleanup", container),
        engine_command(context, "system", "restore"),
    ] * 4
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for command in commands]
    for process in processes:
        assert process.communicate(timeout=60)[1] == b""
        assert process.returncode == 0
    assert count(engine, container) == 1
    assert state(engine, container)["Status"] == "running"
    wait_for(lambda: b"begun" in logs(engine, container))
    assert logs(engine, container).count(b"begun") <= 2


def test_a_cleanup_does_not_shorten_the_wait(engine, looping):
    container, note = looping
    before = count(engine, container)
    engine.containers.cleanup(container)
    engine.containers.restore()
    assert count(engine, container) == before
    assert not is_over(note)


def test_a_cleanup_that_fails_is_called_again(engine, runner):
    # A disk without room shows as a database that cannot be written
    container = runner.start("sh", "-c", "sleep 0.3; exit 1", **policy("always"))
    path = engine.config.paths.database
    os.rename(path, f"{path}.away")
    os.mkdir(path)
    state_dir = engine.config.paths.container_state(container)
    try:
        wait_for(lambda: os.path.exists(f"{state_dir}/restart.json"))
        first = os.stat(f"{state_dir}/restart.json")
        wait_for(lambda: os.stat(f"{state_dir}/restart.json").st_ino != first.st_ino)
    finally:
        os.rmdir(path)
        os.rename(f"{path}.away", path)
    wait_for(lambda: count(engine, container) >= 1)
    engine.containers.stop(container, timeout_s=0)
