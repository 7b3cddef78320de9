"""The container manager on real runc: every state and every refusal."""

import threading
import time
from pathlib import Path

import pytest

from runengine.errors import (
    AlreadyExists,
    CommandNotExecutable,
    CommandNotFound,
    Conflict,
    InvalidParameter,
    NotFound,
    NotModified,
    RuntimeFailed,
)
from runengine.model import exec_config
from runengine.runtime.runc import Runtime
from tests.support.engines import logs
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, pytest.mark.needs("runc", "overlay", "busybox")]


def state(engine, container):
    return engine.containers.inspect(container)["State"]


def test_run_to_the_end(runner, engine):
    # E-25, E-41, C-21
    code, out, err = runner.run("sh", "-c", "echo out; echo err >&2; exit 42", name="one")
    assert (code, out, err) == (42, b"out\n", b"err\n")
    seen = state(engine, "one")
    assert (seen["Status"], seen["ExitCode"], seen["Pid"]) == ("exited", 42, 0)
    assert seen["StartedAt"] < seen["FinishedAt"]
    assert seen["CpuNs"] > 0


@pytest.mark.parametrize(("signal", "code"), [("TERM", 143), ("KILL", 137), ("9", 137)])
def test_a_signal_is_128_and_its_number(runner, engine, signal, code):
    # E-35, E-36
    script = "trap 'exit 143' TERM; echo ready; while :; do sleep 0.1; done"
    container = runner.start("sh", "-c", script)
    wait_for(lambda: logs(engine, container) == b"ready\n")
    engine.containers.kill(container, signal)
    assert engine.containers.wait(container).exit_code == code


def test_start_again_keeps_the_writable_layer_and_the_log(runner, engine):
    # E-30, G-08
    container = runner.start("sh", "-c", "cat /mark 2>/dev/null; echo again >> /mark; echo end")
    engine.containers.wait(container)
    engine.containers.start(container)
    engine.containers.wait(container)
    lines = []
    engine.containers.logs(container, emit=lambda _, data: lines.append(data))
    assert b"".join(lines) == b"end\nagain\nend\n"


def test_start_of_a_running_one_changes_nothing(runner, engine):
    # E-22, E-23
    container = runner.start("sleep", "1000")
    pid = state(engine, container)["Pid"]
    with pytest.raises(NotModified):
        engine.containers.start(container)
    engine.containers.pause(container)
    with pytest.raises(Conflict, match="unpause"):
        engine.containers.start(container)
    engine.containers.unpause(container)
    assert state(engine, container)["Pid"] == pid


@pytest.mark.parametrize(
    ("command", "error", "code"),
    [
        ("/no/such", CommandNotFound, 127),
        ("nosuch", CommandNotFound, 127),
        ("/etc", CommandNotExecutable, 126),
        ("/etc/passwd", CommandNotExecutable, 126),
    ],
)
def test_a_failed_start_says_why_and_leaves_it_created(runner, engine, command, error, code):
    # E-26, 0-6
    container = runner.create(command)
    with pytest.raises(error, match=command):
        engine.containers.start(container)
    seen = state(engine, container)
    assert (seen["Status"], seen["ExitCode"]) == ("created", code)
    assert command in seen["Error"]
    assert not engine.containers.list()


def test_stop_uses_the_containers_signal_and_time(runner, engine):
    # E-32, E-33, D-16
    trap = "trap 'exit 5' USR1; echo ready; while :; do sleep 0.05; done"
    container = runner.start("sh", "-c", trap, config={"StopSignal": "SIGUSR1"})
    wait_for(lambda: logs(engine, container) == b"ready\n")
    engine.containers.stop(container)
    assert state(engine, container)["ExitCode"] == 5
    stubborn = runner.start(
        "sh", "-c", "trap '' TERM; while :; do sleep 0.05; done", config={"StopTimeout": 1}
    )
    engine.containers.stop(stubborn)
    assert state(engine, stubborn)["ExitCode"] == 137
    with pytest.raises(NotModified):
        engine.containers.stop(stubborn)


def test_stop_and_remove_of_a_paused_one(runner, engine):
    # E-34, E-43
    container = runner.start("sleep", "1000")
    engine.containers.pause(container)
    engine.containers.stop(container, timeout_s=0)
    assert state(engine, container)["Status"] == "exited"
    engine.containers.start(container)
    engine.containers.pause(container)
    with pytest.raises(Conflict, match="force"):
        engine.containers.remove(container)
    engine.containers.remove(container, force=True)
    with pytest.raises(NotFound):
        engine.containers.inspect(container)


def test_a_paused_one_that_ends_while_the_runtime_thaws_it(runner, engine, monkeypatch):
    container = runner.start("sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.1; done")
    engine.containers.pause(container)
    init = Path(f"/proc/{state(engine, container)['Pid']}")
    resume = Runtime.resume

    def fail(*_):
        raise RuntimeFailed("seek cgroup.freeze: no such device")

    def thaw_and_fail(*words):
        resume(*words)
        while init.exists():
            time.sleep(0.01)
        fail()

    monkeypatch.setattr(Runtime, "resume", thaw_and_fail)
    engine.containers.stop(container)
    assert state(engine, container)["ExitCode"] == 5


def test_pause_and_unpause_refuse_other_states(runner, engine):
    # E-39, E-40
    container = runner.create("sleep", "1000")
    with pytest.raises(Conflict, match="created"):
        engine.containers.pause(container)
    engine.containers.start(container)
    with pytest.raises(Conflict, match="not paused"):
        engine.containers.unpause(container)
    engine.containers.pause(container)
    with pytest.raises(Conflict, match="paused"):
        engine.containers.pause(container)
    seen = state(engine, container)
    assert seen["Paused"]
    assert seen["Running"]
    with pytest.raises(Conflict, match="paused"):
        engine.containers.create_exec(container, exec_config(["true"]))
    with pytest.raises(Conflict, match="paused"):
        engine.containers.kill(container, "TERM")


def test_kill_of_a_stopped_one_and_of_nobody(runner, engine):
    # E-36, E-37
    container = runner.create("true")
    with pytest.raises(Conflict, match="not running"):
        engine.containers.kill(container)
    with pytest.raises(InvalidParameter, match="Invalid signal"):
        engine.containers.kill(container, "NOPE")
    with pytest.raises(NotFound):
        engine.containers.kill("nobody")


def test_restart_gives_a_new_process(runner, engine):
    # E-38
    container = runner.start("sleep", "1000")
    pid = state(engine, container)["Pid"]
    engine.containers.restart(container, timeout_s=0)
    seen = state(engine, container)
    assert seen["Running"]
    assert seen["Pid"] != pid
    engine.containers.stop(container, timeout_s=0)
    engine.containers.restart(container)
    assert state(engine, container)["Running"]


def test_many_wait_and_all_hear_the_code(runner, engine):
    # E-41, T-05
    container = runner.start("sh", "-c", "sleep 0.5; exit 9")
    heard = []
    threads = [
        threading.Thread(target=lambda: heard.append(engine.containers.wait(container).exit_code))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert heard == [9] * 5


def test_auto_remove_leaves_nothing_to_find(runner, engine):
    # E-14: done by the engine, with nobody attached
    container = runner.start("sh", "-c", "sleep 0.2; exit 3", AutoRemove=True)
    assert engine.containers.wait(container, "removed").exit_code == 3
    with pytest.raises(NotFound):
        engine.containers.inspect(container)


def test_names_are_reserved_and_freed(runner, engine):
    # B-02, E-48
    first = runner.create("true", name="taken")
    with pytest.raises(AlreadyExists, match=first[:12]):
        runner.create("true", name="taken")
    with pytest.raises(InvalidParameter, match="Invalid container name"):
        runner.create("true", name="x")
    engine.containers.rename("taken", "free")
    second = runner.create("true", name="taken")
    assert engine.containers.resolve("/free") == first
    assert engine.containers.resolve("taken") == second
    assert engine.containers.get(second).name == "taken"


def test_generated_names_are_windows_of_the_id(runner, engine):
    # B-03
    container = runner.create("true")
    assert engine.containers.get(container).name == container[:6]


@pytest.mark.parametrize(
    ("host", "error"),
    [
        ({"Memory": 1024}, InvalidParameter),
        ({"Runtime": "nosuch"}, InvalidParameter),
        ({"LogConfig": {"Type": "gelf", "Config": {}}}, InvalidParameter),
        ({"LogConfig": {"Type": "cri", "Config": {"max-size": "x"}}}, InvalidParameter),
        ({"Binds": ["relative/x:/data"]}, InvalidParameter),
        ({"Binds": ["data:/data"], "VolumeDriver": "nosuch"}, NotFound),
        ({"CapAdd": ["NOPE"]}, InvalidParameter),
        ({"SecurityOpt": ["colour=red"]}, InvalidParameter),
    ],
)
def test_a_refused_create_leaves_no_record(runner, engine, host, error):
    # E-01: validate first
    with pytest.raises(error):
        runner.create("true", **host)
    assert engine.containers.list(all=True) == []


def test_limits_reach_the_kernel_and_oom_is_the_cgroups_word(runner, engine):
    # H-01, D-13, A-40
    grow = "x=x; while :; do x=$x$x; done"
    code, _, _ = runner.run("sh", "-c", grow, name="hungry", Memory=16 << 20)
    seen = state(engine, "hungry")
    assert code == 137
    assert seen["OOMKilled"]
    assert seen["MemoryPeakBytes"] <= 16 << 20
    code, _, _ = runner.run("sh", "-c", "kill -9 $$", name="suicide")
    assert not state(engine, "suicide")["OOMKilled"]


def test_exec_has_the_containers_protections(runner, engine):
    # F-04
    container = runner.start(
        "sleep", "1000", CapDrop=["CHOWN"], SecurityOpt=["no-new-privileges"], OomScoreAdj=300
    )
    code, out, _ = runner.exec(
        container,
        "sh",
        "-c",
        "grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/1/status /proc/self/status;"
        "cat /proc/self/oom_score_adj",
    )
    lines = [line.split(":", 1)[1] for line in out.decode().splitlines()[:-1]]
    assert code == 0
    assert lines[:3] == lines[3:]
    assert out.endswith(b"300\n")


@pytest.mark.parametrize(
    ("command", "error", "code"),
    [("nosuch", CommandNotFound, 127), ("/etc", CommandNotExecutable, 126)],
)
def test_a_failed_exec_is_recorded(runner, engine, command, error, code):
    # F-05
    container = runner.start("sleep", "1000")
    exec_id = engine.containers.create_exec(container, exec_config([command]))
    with pytest.raises(error):
        engine.containers.start_exec(exec_id)
    found = engine.containers.inspect_exec(exec_id)
    assert (found["Running"], found["ExitCode"]) == (False, code)
    with pytest.raises(Conflict, match="already run"):
        engine.containers.start_exec(exec_id)  # F-13


def test_a_detached_exec_tells_its_code_later(runner, engine):
    # F-09, F-10
    container = runner.start("sleep", "1000")
    exec_id = engine.containers.create_exec(
        container, exec_config(["sh", "-c", "sleep 0.3; exit 6"])
    )
    assert engine.containers.inspect_exec(exec_id)["ExitCode"] == 0
    engine.containers.start_exec(exec_id)
    assert engine.containers.inspect_exec(exec_id)["Running"]
    deadline = time.monotonic() + 20
    while engine.containers.inspect_exec(exec_id)["Running"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert engine.containers.inspect_exec(exec_id)["ExitCode"] == 6
    assert engine.containers.inspect(container)["ExecIDs"] == [exec_id]


def test_execs_of_a_container_that_dies_end(runner, engine):
    # F-15
    container = runner.start("sleep", "1000")
    exec_id = engine.containers.create_exec(container, exec_config(["sleep", "1000"]))
    engine.containers.start_exec(exec_id)
    engine.containers.kill(container)
    found = engine.containers.inspect_exec(exec_id)
    assert not found["Running"]


def test_top_shows_only_the_containers_processes(runner, engine):
    # H-07
    container = runner.start("sleep", "1000")
    found = engine.containers.top(container)
    pid = str(state(engine, container)["Pid"])
    assert [row[found["Titles"].index("PID")] for row in found["Processes"]] == [pid]
    found = engine.containers.top(container, ["-o", "pid,args"])
    assert found == {"Titles": ["PID", "COMMAND"], "Processes": [[pid, "sleep 1000"]]}
    with pytest.raises(InvalidParameter, match="PID"):
        engine.containers.top(container, ["-o", "args"])
    with pytest.raises(InvalidParameter):
        engine.containers.top(container, ["--nosuch"])


def test_joining_namespaces_of_another(runner, engine):
    # AA-12, O-21
    other = runner.start("sleep", "1000", name="other", IpcMode="shareable")
    engine.containers.start(runner.create("true", name="stopped"))
    engine.containers.wait("stopped")
    joined = {"NetworkMode": "container:other", "PidMode": "container:other"}
    _, out, _ = runner.run("sh", "-c", "readlink /proc/self/ns/net /proc/self/ns/pid", **joined)
    _, theirs, _ = runner.exec(other, "readlink", "/proc/self/ns/net", "/proc/self/ns/pid")
    assert out == theirs
    runner.exec(other, "touch", "/dev/shm/shared")
    _, out, _ = runner.run("ls", "/dev/shm", IpcMode="container:other")
    assert out == b"shared\n"
    with pytest.raises(Conflict, match="non running"):
        runner.run("true", NetworkMode="container:stopped")
    with pytest.raises(NotFound):
        runner.run("true", NetworkMode="container:nobody")


def test_a_bundle_of_ours_runs_under_plain_runc(engine, tmp_path):
    import subprocess

    from runengine.model import container_config, host_config

    config = container_config("runengine/busybox")
    config["Cmd"] = ["sh", "-c", "id -un; cat /etc/hosts"]
    engine.containers.write_bundle(config, host_config(), str(tmp_path / "b"))
    done = subprocess.run(
        ["runc", "--root", f"{tmp_path}/runc", "run", "-b", f"{tmp_path}/b", "bundle-test"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("root\n127.0.0.1\tlocalhost")
    with pytest.raises(AlreadyExists):
        engine.containers.write_bundle(config, host_config(), str(tmp_path / "b"))


def test_a_tree_of_any_depth_can_be_removed(runner, engine):
    # E-45: deeper than any recursion goes
    deep = "i=0; while [ $i -lt 1500 ]; do mkdir d && cd d || exit 1; i=$((i+1)); done"
    code, _, err = runner.run("sh", "-c", deep, name="deep")
    assert (code, err) == (0, b"")
    engine.containers.remove("deep")
    assert engine.containers.list(all=True) == []


def test_layers_go_with_the_last_container_that_stood_on_them(runner, engine):
    # N-14: rmi -f keeps them until then
    import io

    from tests.support.layouts import tar_of

    engine.images.import_rootfs(io.BytesIO(tar_of({"only": b"here"})), "pinned")
    container = runner.create("true", config={"Image": "pinned"})
    layers = engine.images.lookup("pinned").layers
    engine.images.remove("pinned", force=True)
    assert engine.images.layer_paths(layers)
    engine.containers.remove(container)
    with pytest.raises(NotFound):
        engine.images.layer_paths(layers)
