"""The monitor with a real runc: streams, exit records, failed starts, what it leaves."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runengine import errors
from runengine.linux import libc, mount, pidfd
from runengine.linux.locks import locked
from runengine.monitor.client import Connection
from runengine.monitor.protocol import AttachOptions
from runengine.runtime.runc import Runtime
from tests.support import monitors
from tests.support.capabilities import needs
from tests.support.monitors import (
    ALL,
    Host,
    collect,
    has_ended,
    make_rootfs,
    reach,
    read_until,
    start_with_a_killer,
    wait_exit,
)
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = [pytest.mark.root, needs("runc", "busybox")]
MEGABYTE = 1 << 20


@pytest.fixture(scope="session")
def monitor_rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rootfs(tmp_path_factory.mktemp("monitor") / "rootfs")


@pytest.fixture
def host(tmp_path: Path, monitor_rootfs: Path) -> Iterator[Host]:
    made = Host(tmp_path, monitor_rootfs)
    yield made
    made.close()


def sh(script: str) -> tuple[str, str, str]:
    return ("sh", "-c", script)


def output_of(size: int) -> tuple[str, str, str]:
    return sh(f"head -c {size} /dev/zero | tr '\\0' x; echo end >&2; exit 5")


def share_host_pids(spec: dict[str, Any]) -> None:
    spaces = spec["linux"]["namespaces"]
    spec["linux"]["namespaces"] = [space for space in spaces if space["type"] != "pid"]


# Exit records (T-05)


def test_streams_exit_record_and_notes(host: Host) -> None:
    job = host.job(*sh("echo out; echo err >&2; exit 3"))
    _, started = host.run(job)
    init = json.loads(Path(job["state_dir"], "init.json").read_text())
    assert started.connection
    out, err, record = collect(started.connection)
    assert (out, err, record["exit_code"], record["signal"]) == (b"out\n", b"err\n", 3, None)
    assert json.loads(Path(job["data_dir"], "exit.json").read_text()) == record
    assert (init["pid"], init["start_time"]) == (started.pid, started.start_time)
    assert record["pid"] == started.pid
    assert record["started_at"] < record["finished_at"]
    assert record["cpu_ns"] > 0
    assert not record["oom_killed"]
    assert not host.leftovers(job)


@pytest.mark.parametrize("terminal", [False, True])
def test_no_exit_code_and_no_last_word_is_lost(host: Host, terminal: bool) -> None:
    end = b"\r\n" if terminal else b"\n"
    for number in range(25):
        job = host.job(*sh(f"echo last{number}; exit {number}"), terminal=terminal)
        output = host.finished(job)
        assert output.exit["exit_code"] == number
        assert output.out == b"last%d%b" % (number, end)


def test_signal_and_memory_kill(host: Host) -> None:
    assert host.finished(host.job(*sh("kill -9 $$"))).exit["signal"] is None  # init ignores it
    job = host.job("sleep", "1000")
    started = host.detached(job)
    record = wait_exit(job, kill_pid=started.pid)
    assert (record["exit_code"], record["signal"], record["oom_killed"]) == (137, 9, False)

    def limit(spec: dict[str, Any]) -> None:
        spec["linux"]["resources"] = {"memory": {"limit": 16 * MEGABYTE, "swap": 16 * MEGABYTE}}

    grow = sh("x=$(head -c 60000000 /dev/zero | tr '\\0' a); echo $x")
    killed = host.finished(host.job(*grow, change=limit)).exit
    assert (killed["exit_code"], killed["oom_killed"]) == (137, True)
    assert killed["memory_peak_bytes"] <= 16 * MEGABYTE


def test_full_data_directory_moves_the_record(host: Host) -> None:
    job = host.job("true")
    job["data_dir"] += "/gone"
    assert host.finished(job).exit["exit_code"] == 0
    assert json.loads(Path(job["state_dir"], "exit.json").read_text())["exit_code"] == 0


# Failed starts (F-05)


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(
    ("program", "kind", "words"),
    [
        ("nosuch", errors.CommandNotFound, '"nosuch": executable file not found in $PATH'),
        ("/bin/nosuch", errors.CommandNotFound, "/bin/nosuch: no such file or directory"),
        ("/bin/script", errors.CommandNotFound, "interpreter"),
        ("/bin/data", errors.CommandNotExecutable, '"/bin/data": permission denied'),
        ("/adir", errors.CommandNotExecutable, "/adir"),
        ("/bin/garbage", errors.CommandNotExecutable, "exec format error"),
    ],
)
def test_start_failures(
    host: Host, program: str, kind: type[errors.EngineError], words: str, terminal: bool
) -> None:
    job = host.job(program, terminal=terminal)
    with pytest.raises(kind, match=words.replace("$", r"\$")):
        host.run(job)
    assert not host.leftovers(job)
    assert not Path(job["state_dir"], "init.json").exists()


def test_bad_mount_names_its_source(host: Host) -> None:
    def bind(spec: dict[str, Any]) -> None:
        spec["mounts"].append(
            {"destination": "/tmp", "type": "bind", "source": "/no/source", "options": ["bind"]}
        )

    job = host.job("true", change=bind)
    with pytest.raises(errors.InvalidParameter, match="/no/source"):
        host.run(job)
    assert not host.leftovers(job)


def test_missing_runtime(host: Host) -> None:
    job = host.job("true", runtime=["/no/such/runc"])
    with pytest.raises(errors.RuntimeFailed, match="/no/such/runc: No such file"):
        host.run(job)


@pytest.mark.parametrize("delay_s", [0.001, 0.005, 0.01])
def test_runtime_killed_in_the_middle(host: Host, delay_s: float) -> None:
    for _ in range(20):
        job = host.job("sleep", "1000")
        try:
            started = start_with_a_killer(host, job, delay_s)
        except errors.RuntimeFailed as error:
            failure = str(error)
            break
        wait_exit(job, kill_pid=started.pid)  # the runtime was quicker
    else:
        pytest.fail("the runtime is always quicker")
    assert "killed by signal 9" in failure
    assert not host.leftovers(job)


def test_a_container_that_cannot_be_written_down_is_none(host: Host) -> None:
    job = host.job("sleep", "1000")
    note = Path(job["state_dir"], "init.json")
    note.mkdir()
    with pytest.raises(errors.RuntimeFailed, match=r"init\.json.*: Is a directory"):
        host.run(job)
    wait_for(lambda: has_ended(host.monitors[-1].pid))
    assert not host.leftovers(job)


def test_malformed_job(host: Host) -> None:
    job = host.job("true")
    del job["terminal"]  # type: ignore[misc]
    with pytest.raises(errors.InvalidParameter, match="terminal"):
        host.run(job)
    wait_for(lambda: has_ended(host.monitors[-1].pid))


def test_one_monitor_per_container(host: Host) -> None:
    job = host.job("sleep", "1000")
    host.detached(job)
    with pytest.raises(errors.Conflict, match="has a monitor already"):
        host.run(job)
    with reach(job) as connection:
        assert connection.status()["running"]


# Attach (G-02, G-03, G-05)


def test_terminal_size_resize_and_second_client(host: Host) -> None:
    job = host.job("sh", terminal=True, open_stdin=True, console_size=[33, 77])
    monitor, started = host.run(job, ALL)
    first = started.connection
    assert first
    first.send_stdin(b"stty size\n")
    read_until(first, b"33 77")
    first.resize(50, 99)
    first.send_stdin(b"stty size\n")
    read_until(first, b"50 99")
    with reach(job) as other:
        other.resize_once(51, 98)
    with reach(job) as second:
        second.attach(ALL)
        second.send_stdin(b"stty size; exit 9\n")
        out, _, record = collect(second)
    assert b"51 98" in out
    assert record["exit_code"] == 9
    assert b"51 98" in collect(first).out
    assert monitor.take_over()


def test_resize_without_a_terminal(host: Host) -> None:
    job = host.job("sleep", "1000")
    host.detached(job)
    with reach(job) as connection, pytest.raises(errors.Conflict, match="no terminal"):
        connection.resize_once(1, 1)
    with reach(job) as connection, pytest.raises(errors.NotFound):
        connection.resize_once(1, 1, exec_id="nosuch")


def test_input_with_half_close_comes_back_whole(host: Host) -> None:
    _, started = host.run(host.job("cat", open_stdin=True), ALL)
    connection = started.connection
    assert connection
    data = os.urandom(MEGABYTE)
    received, sent = bytearray(), 0
    while connection.exit is None:
        if sent < 20 and not connection.wants_write:
            connection.send_stdin(data)
            sent += 1
            if sent == 20:
                connection.close_stdin()
        for frame in connection.read_frames(0.01) or []:
            received += frame.data
    assert received == data * 20


def test_stdin_once(host: Host) -> None:
    job = host.job(*sh("cat; echo over"), open_stdin=True, stdin_once=False)
    host.detached(job)
    for text in (b"first\n", b"second\n"):
        with reach(job) as client:
            client.attach(ALL)
            client.send_stdin(text)
            read_until(client, text)
    wait_exit(job, kill_pid=reach_pid(job))

    job = host.job(*sh("cat; echo over"), open_stdin=True, stdin_once=True)
    host.detached(job)
    with reach(job) as client:
        client.attach(ALL)
        client.detach()
    with reach(job) as watcher, reach(job) as client:
        watcher.attach(AttachOptions(stdin=False))
        client.attach(ALL)
        client.close()
        assert collect(watcher).out == b"over\n"


def reach_pid(job: Any) -> int:
    with reach(job) as connection:
        return int(connection.status()["pid"])


def test_slow_primary_gets_everything(host: Host) -> None:
    _, started = host.run(host.job(*output_of(30 * MEGABYTE)))
    time.sleep(1)
    assert started.connection
    out, err, record = collect(started.connection)
    assert (len(out), err, record["exit_code"]) == (30 * MEGABYTE, b"end\n", 5)


def test_stuck_primary_does_not_hold_up_a_kill(host: Host) -> None:
    job = host.job(*output_of(200 * MEGABYTE), on_exit=["/bin/true"])
    _, started = host.run(job)
    with reach(job) as waiter:
        assert waiter.wait(0.3) is None  # the reader sets the pace
        os.kill(started.pid, signal.SIGKILL)
        record = waiter.wait(monitors.TIMEOUT_S)
    assert record
    assert record["exit_code"] == 137
    assert Path(job["data_dir"], "exit.json").exists()
    assert not host.leftovers(job)
    assert started.connection
    assert collect(started.connection).exit["exit_code"] == 137


def test_stuck_bystander_is_dropped(host: Host) -> None:
    job = host.job(*sh("sleep 0.3; head -c 30000000 /dev/zero; exit 5"))
    host.detached(job)
    with reach(job) as stuck:
        stuck.attach(AttachOptions())
        assert wait_exit(job)["exit_code"] == 5
        output = collect(stuck)
    assert len(output.out) < 30_000_000
    assert output.exit is None


def test_grandchild_that_holds_the_output(host: Host) -> None:
    # G-15: without a pid namespace it would live on; it is killed with the container.
    job = host.job(*sh("setsid sleep 1000 & echo hi; exit 4"), change=share_host_pids)
    output = host.finished(job)
    assert (output.out, output.exit["exit_code"]) == (b"hi\n", 4)
    assert not host.leftovers(job)


def test_outsider_that_holds_the_output(host: Host) -> None:
    job = host.job("sleep", "1000", drain_timeout_s=0.2)
    _, started = host.run(job)
    with open(f"/proc/{started.pid}/fd/1", "wb", 0):
        os.kill(started.pid, signal.SIGKILL)
        assert started.connection
        assert collect(started.connection).exit["exit_code"] == 137


# The end: who does the rest


def test_command_runs_if_nobody_took_over(host: Host, tmp_path: Path) -> None:
    note = tmp_path / "note"
    command = ["/bin/sh", "-c", f"env > {note}.new; mv {note}.new {note}"]
    os.environ["LISTEN_FDS"] = "3"
    try:
        host.detached(host.job(*sh("sleep 0.1; exit 6"), on_exit=command))
    finally:
        del os.environ["LISTEN_FDS"]
    wait_for(note.exists)
    names = {line.partition("=")[0] for line in note.read_text().splitlines()}
    assert names <= {"PATH", "PWD", "SHLVL", "_"}


def test_command_does_not_run_after_take_over(host: Host, tmp_path: Path) -> None:
    note = tmp_path / "note"
    host.finished(host.job("true", on_exit=["/bin/touch", str(note)]))
    wait_for(lambda: has_ended(host.monitors[-1].pid))
    assert not note.exists()


@pytest.mark.parametrize("torn_down", [True, False])
def test_command_runs_only_if_whoever_has_the_lock_does_not(
    host: Host, tmp_path: Path, torn_down: bool
) -> None:
    note = tmp_path / "note"
    job = host.job("sleep", "1000", on_exit=["/bin/touch", str(note)])
    started = host.detached(job)
    monitor = host.monitors[-1].pid
    with locked(f"{job['state_dir']}/lock"):
        wait_exit(job, kill_pid=started.pid)
        assert not has_ended(monitor)
        if torn_down:
            Path(job["state_dir"], "init.json").unlink()
    wait_for(lambda: has_ended(monitor))
    if not torn_down:
        wait_for(note.exists)
    assert note.exists() is not torn_down


def test_client_that_dies_with_its_start_under_way(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "note"
    job = host.job(*sh("sleep 0.2; exit 7"), on_exit=["/bin/touch", str(note)])
    monkeypatch.setattr(Connection, "read_frame", lambda *_: os._exit(0))
    pid = os.fork()
    if pid == 0:
        host.run(job, None)
    os.waitpid(pid, 0)
    monkeypatch.undo()
    wait_for(note.exists)
    assert json.loads(Path(job["data_dir"], "exit.json").read_text())["exit_code"] == 7
    assert not host.leftovers(job)


def test_monitor_without_a_job_goes_away(host: Host) -> None:
    monitor = host.spawn()
    monitor.close()
    wait_for(lambda: has_ended(monitor.pid))


def test_root_filesystem_is_unmounted(host: Host, tmp_path: Path) -> None:
    merged = tmp_path / "merged"
    merged.mkdir()
    libc.mount(str(host.rootfs), str(merged), None, mount.MS_BIND, None)
    job = host.job("true", merged=str(merged), change=lambda spec: spec["root"].update(
        path=str(merged)))
    try:
        host.finished(job)
        assert not mount.is_mounted(str(merged))
    finally:
        mount.unmount(str(merged))


# What the process is


def test_monitor_inherits_nothing_and_stays_small(host: Host, tmp_path: Path) -> None:
    with open(tmp_path / "held", "w") as held:
        os.set_inheritable(held.fileno(), True)
        job = host.job(*sh("read x; yes | head -c 3000000; read x"), open_stdin=True)
        monitor, started = host.run(job, ALL)
        targets = [str(path.readlink()) for path in Path(f"/proc/{monitor.pid}/fd").iterdir()]
        assert held.name not in targets
    proc = Path(f"/proc/{monitor.pid}")
    assert proc.joinpath("cwd").readlink() == Path("/")
    assert os.getsid(monitor.pid) == monitor.pid
    assert proc.joinpath("environ").read_text().startswith("PATH=")
    assert proc.joinpath("environ").read_text().count("\0") == 1
    assert started.connection
    started.connection.send_stdin(b"\n")
    read_bytes(started.connection, 3_000_000)
    private = proc.joinpath("smaps_rollup").read_text().split("Private_Dirty:")[1].split()[0]
    assert int(private) < 5000
    time.sleep(0.1)  # until it sleeps
    before = wakeups(monitor.pid)
    time.sleep(0.5)
    assert wakeups(monitor.pid) == before


def read_bytes(connection: Any, size: int) -> None:
    while size > 0:
        frame = connection.read_frame(monitors.TIMEOUT_S)
        size -= len(frame.data)


def wakeups(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text().partition("voluntary_ctxt_switches")[2]


def test_signals_do_not_end_the_monitor_nor_reach_the_container(host: Host) -> None:
    job = host.job(*sh("grep SigIgn /proc/self/status; read x"), open_stdin=True)
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        monitor, started = host.run(job, ALL)
    finally:
        signal.signal(signal.SIGHUP, old)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        os.kill(monitor.pid, number)
    assert started.connection
    started.connection.send_stdin(b"\n")
    out, _, record = collect(started.connection)
    ignored = int(out.split()[1], 16)
    assert not ignored & (1 << (signal.SIGHUP - 1) | 1 << (signal.SIGPIPE - 1))
    assert record["exit_code"] == 0


def test_long_directory_names(host: Host) -> None:
    job = host.job(*sh("tty"), terminal=True, home="d" * 120)
    assert host.finished(job).out == b"/dev/pts/0\r\n"


def test_container_outlives_its_monitor(host: Host) -> None:
    job = host.job("sleep", "1000")
    monitor, started = host.run(job, None)
    os.kill(monitor.pid, signal.SIGKILL)
    wait_for(lambda: has_ended(monitor.pid))
    assert pidfd.is_alive(started.pid, started.start_time)
    assert json.loads(Path(job["state_dir"], "init.json").read_text())["pid"] == started.pid
    os.kill(started.pid, signal.SIGKILL)
    wait_for(lambda: not pidfd.is_alive(started.pid, started.start_time))
    Runtime(host.runtime).delete(job["id"], force=True)


def test_a_running_container_s_job_can_be_changed(host: Host, tmp_path: Path) -> None:
    # U-08
    job = host.job("sleep", "1000")
    started = host.detached(job)
    with reach(job) as connection:
        connection.update(on_exit=["touch", str(tmp_path / "done")])
        with pytest.raises(errors.InvalidParameter, match="state_dir"):
            connection.update(state_dir="/elsewhere", on_exit=["false"])
    wait_exit(job, kill_pid=started.pid)
    wait_for((tmp_path / "done").exists)
