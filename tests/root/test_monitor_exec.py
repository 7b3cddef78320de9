"""Exec sessions through a container's monitor, with a real runc."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runengine import errors
from tests.support.capabilities import needs
from tests.support.monitors import (
    Host,
    Output,
    collect,
    exec_output,
    exec_request,
    make_rootfs,
    reach,
    read_until,
)
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.monitor.protocol import Job

pytestmark = [pytest.mark.root, needs("runc", "busybox")]


@pytest.fixture(scope="session")
def exec_rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rootfs(tmp_path_factory.mktemp("monitor-exec") / "rootfs")


@pytest.fixture
def host(tmp_path: Path, exec_rootfs: Path) -> Iterator[Host]:
    made = Host(tmp_path, exec_rootfs)
    yield made
    made.close()


@pytest.fixture
def job(host: Host) -> Job:
    made = host.job("sleep", "1000")
    host.detached(made)
    return made


def test_streams_and_exit_codes(job: Job) -> None:
    output = exec_output(job, "a", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (output.out, output.err, output.exit["exit_code"]) == (b"out\n", b"err\n", 3)
    killed = exec_output(job, "b", "sh", "-c", "kill -9 $$").exit
    assert (killed["exit_code"], killed["signal"]) == (137, 9)


def test_input_ends(job: Job) -> None:
    # F-06: ``echo x | exec -i c cat`` must end.
    output = exec_output(job, "a", "cat", stdin=b"x" * 300_000)
    assert (output.out, output.exit["exit_code"]) == (b"x" * 300_000, 0)


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("nosuch", errors.CommandNotFound),
        ("/bin/script", errors.CommandNotFound),
        ("/bin/data", errors.CommandNotExecutable),
        ("/adir", errors.CommandNotExecutable),
        ("/bin/garbage", errors.CommandNotExecutable),
    ],
)
def test_start_failures(
    job: Job, program: str, kind: type[errors.EngineError], terminal: bool
) -> None:
    # F-05
    with pytest.raises(kind, match=program):
        exec_output(job, "a", program, terminal=terminal)
    assert exec_output(job, "a", "true").exit["exit_code"] == 0
    assert {path.name for path in Path(job["state_dir"]).iterdir()} == {
        "init.json",
        "monitor.lock",
        "monitor.sock",
    }


def test_terminal(job: Job) -> None:
    with reach(job) as session:
        request = exec_request("a", "sh", terminal=True, stdin=True, console_size=[10, 20])
        session.exec(request)
        session.send_stdin(b"stty size\n")
        read_until(session, b"10 20")
        with reach(job) as other:
            other.resize_once(30, 40, exec_id="a")
        session.send_stdin(b"stty size\n")
        read_until(session, b"30 40")
        session.resize(50, 60)
        session.send_stdin(b"stty size; exit 2\n")
        output = collect(session)
    assert b"50 60" in output.out
    assert output.exit["exit_code"] == 2


def test_detached_and_looked_at_later(job: Job) -> None:
    # F-09, F-10
    with reach(job) as session:
        pid = session.exec(exec_request("a", "sh", "-c", "sleep 0.1; exit 6", detach=True))
    assert Path(f"/proc/{pid}").exists()
    with reach(job) as waiter:
        assert waiter.request({"op": "wait", "exec_id": "a"}, "exit")["exit_code"] == 6
    with reach(job) as asker:
        assert asker.status()["execs"]["a"] == {"pid": pid, "running": False, "exit_code": 6}


def test_once_only(job: Job) -> None:
    # F-13
    exec_output(job, "a", "true")
    with pytest.raises(errors.Conflict, match="already run"):
        exec_output(job, "a", "true")


def test_client_that_goes_leaves_the_process(job: Job) -> None:
    with reach(job) as session:
        session.exec(exec_request("a", "sh", "-c", "cat; exit 8", stdin=True))
    with reach(job) as waiter:
        assert waiter.request({"op": "wait", "exec_id": "a"}, "exit")["exit_code"] == 8
    with reach(job) as session:
        session.exec(exec_request("b", "cat", stdin=True))
        session.detach()
    time.sleep(0.2)
    with reach(job) as asker:
        assert asker.status()["execs"]["b"]["running"]


def test_background_process_does_not_hold_the_end_up(job: Job) -> None:
    output = exec_output(job, "a", "sh", "-c", "sleep 1000 & echo hi")
    assert (output.out, output.exit["exit_code"]) == (b"hi\n", 0)


def test_many_at_once(job: Job) -> None:
    outputs: dict[int, Output] = {}

    def one(number: int) -> None:
        script = f"cat; echo e{number} >&2; exit {number}"
        outputs[number] = exec_output(
            job, f"x{number}", "sh", "-c", script, stdin=b"%d" % number
        )

    threads = [threading.Thread(target=one, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(30):
        output = outputs[number]
        assert (output.out, output.err) == (b"%d" % number, b"e%d\n" % number)
        assert output.exit["exit_code"] == number


def test_sessions_end_with_the_container(job: Job) -> None:
    # F-15
    with reach(job) as plain, reach(job) as terminal, reach(job) as waiter:
        plain.exec(exec_request("a", "sleep", "1000"))
        terminal.exec(exec_request("b", "sleep", "1000", terminal=True))
        os.kill(waiter.status()["pid"], signal.SIGKILL)
        assert collect(plain).exit["exit_code"] == 137
        assert collect(terminal).exit["exit_code"] == 137
    wait_for(lambda: not Path(job["state_dir"], "monitor.sock").exists())


@pytest.mark.parametrize("delay_s", [0.001, 0.004, 0.008])
def test_runtime_killed_in_the_middle(host: Host, job: Job, delay_s: float) -> None:
    monitor = host.monitors[-1].pid
    children = Path(f"/proc/{monitor}/task/{monitor}/children")
    before = children.read_text()

    def kill() -> None:
        wait_for(lambda: children.read_text() != before)
        time.sleep(delay_s)
        for pid in set(children.read_text().split()) - set(before.split()):
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    # On a busy host the runtime may be done by then; the process or nobody was killed.
    with suppress(errors.RuntimeFailed):
        assert exec_output(job, "a", "sleep", "1").exit["exit_code"] in (0, 137)
    killer.join()
    wait_for(lambda: children.read_text() == before)
    assert exec_output(job, "b", "true").exit["exit_code"] == 0
