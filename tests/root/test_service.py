"""The launcher under bad clients, kills and crowds: calls go on, and nothing piles up."""

from __future__ import annotations

import array
import os
import random
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from runengine import front
from runengine.launcher import worker
from runengine.monitor import zygote
from tests.support import needs
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox"), pytest.mark.timeout(600)]

HALF = front.CALL + (1000).to_bytes(4, "big") + b"runengine 1\0"


@pytest.fixture
def service(shared_service):
    """It must be the same afterwards, whatever a test did to it."""
    shared_service.ok("ps")
    wait_for(lambda: shared_service.workers() == shared_service.waiting())
    before = shared_service.descriptors()
    yield shared_service
    shared_service.clear()
    wait_for(lambda: shared_service.workers() == shared_service.waiting())
    wait_for(lambda: shared_service.descriptors() <= before)


# Bad clients


def garbage(number):
    return random.Random(number).randbytes(number * 97)


def test_whoever_sends_nonsense_holds_nobody_up(service):
    messages = [b"", HALF, b"C" + b"\xff" * 9, b"x", *map(garbage, range(1, 9))]
    crowd = [service.connect() for _ in range(5 * len(messages))]
    for number, sock in enumerate(crowd):
        with suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(messages[number % len(messages)])
    assert service.ok("run", "--rm", "busybox", "echo", "served") == "served"
    for sock in crowd:
        sock.close()


def test_whoever_never_comes_to_an_end_is_dropped(service):
    """Who says nothing, who dribbles, and who wants a monitor and sends no socket for it."""
    null = os.open(os.devnull, os.O_RDONLY)
    with ExitStack() as stack:
        silent, dribbling, *asking = (stack.enter_context(service.connect()) for _ in range(5))
        began = time.monotonic()
        dribbling.sendall(HALF)
        for sock, fds in zip(asking, ([], [null], [null, null]), strict=True):
            socket.send_fds(sock, [zygote.REQUEST], fds)
        wait_for(lambda: is_refused(dribbling))
        silent.settimeout(worker.REQUEST_TIMEOUT_S * 3)
        assert silent.recv(1) == front.TAKEN
        assert silent.recv(10) in (b"", b"E\1")
        assert time.monotonic() - began >= worker.REQUEST_TIMEOUT_S / 2
        for sock in asking:
            while sock.recv(100):
                pass
    os.close(null)


def is_refused(sock):
    """Whether one byte more is one too many."""
    time.sleep(0.5)
    try:
        sock.sendall(b"x")
    except (BrokenPipeError, ConnectionResetError):
        return True
    return False


@pytest.mark.parametrize("kind", [front.CALL, zygote.REQUEST, b"x"])
def test_ten_thousand_descriptors(service, kind):
    read, write = os.pipe()
    passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [read] * 250))]
    with service.connect() as sock, suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(40):
            sock.sendmsg([kind], passed)
    os.close(read)
    # Nobody has the other end any more.
    wait_for(lambda: broken(write))
    os.close(write)


def broken(fd):
    try:
        os.write(fd, b"x")
    except BrokenPipeError:
        return True
    return False


def test_only_root_is_served(service):
    """Even where the socket lets others in."""
    client = (
        "import os, socket; sock = socket.socket(socket.AF_UNIX); os.setresuid(1000, 1000, 0);"
        "sock.connect('launcher.sock'); sock.send(b'C'); print(sock.recv(10))"
    )
    service.state.chmod(0o711)
    service.socket.chmod(0o666)
    done = subprocess.run(
        [sys.executable, "-c", client], cwd=service.state, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    service.socket.chmod(0o600)
    service.state.chmod(0o700)
    refused = ("BrokenPipeError", "ConnectionResetError")
    assert done.stdout == "b''\n" or any(name in done.stderr for name in refused), done


def test_another_version_is_served_cold(service, tmp_path):
    copy = tmp_path / "runengine"
    subprocess.run(["cp", "-r", os.path.dirname(front.__file__), str(copy)], check=True)
    command = [sys.executable, "-m", "runengine.front", "ps", "-q"]
    environment = {**service.environment, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (125, "")
    assert "no launcher takes this call" in done.stderr
    del environment["RUNENGINE_LAUNCHER"]
    assert subprocess.check_output(command, env=environment, cwd=tmp_path) == b""


@pytest.mark.parametrize(
    "option", ["--mount", "--net", "--uts", "--ipc", "--pid --fork", "--cgroup"]
)
def test_a_caller_in_another_world_is_served_cold(service, option):
    command = ["unshare", *option.split(), *service.command("ps", "-q")]
    done = subprocess.run(
        command, env=service.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 125
    assert "no launcher takes this call" in done.stderr
    environment = {**service.environment}
    del environment["RUNENGINE_LAUNCHER"]
    subprocess.run(command, env=environment, check=True)


def test_a_caller_with_fewer_privileges_is_served_cold(service):
    command = ["setpriv", "--bounding-set", "-sys_time", *service.command("ps", "-q")]
    done = subprocess.run(
        command, env=service.environment, capture_output=True, text=True, check=False
    )
    assert "no launcher takes this call" in done.stderr


# Deaths


def test_a_stopped_launcher_costs_the_call_a_while(service):
    """And holds nobody's output open: a pipe behind the call ends with the call."""
    service.signal(signal.SIGSTOP)
    with ThreadPoolExecutor(3) as pool:
        echo = ("run", "--rm", "--network", "none", "busybox", "echo", "x")
        done = list(pool.map(lambda _: service.either(*echo), range(3)))
    service.signal(signal.SIGCONT)
    assert [tuple(one) for one in done] == [(0, "x\n", "")] * 3
    assert service.ok("ps", "-q") == ""


def test_a_launcher_that_stops_while_it_is_asked_for_a_monitor(service):
    """Whatever the call is at then: it ends, and well."""
    for pause_s in (0.01, 0.03, 0.05, 0.08, 0.12):
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(
                service.either, "run", "--rm", "--network", "none", "busybox", "echo", "x"
            )
            time.sleep(pause_s)
            service.signal(signal.SIGSTOP)
            try:
                assert call.result() == (0, "x\n", "")
            finally:
                service.signal(signal.SIGCONT)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_worker_that_dies_is_a_command_that_dies(service, number):
    waiting = begin_waiting(service)
    (found,) = service.calls()
    os.kill(found, number)
    assert waiting.wait(30) == -number
    assert service.ok("ps", "-q", "--filter", "name=one")


def begin_waiting(service):
    """A command that lasts, in the only worker that has a call; it has begun."""
    service.ok("run", "-d", "--name", "one", "busybox", "sleep", "600")
    wait_for(lambda: not service.calls())
    path = service.root / "waiting"
    with path.open("wb") as output:
        waiting = service.begin("wait", "one", stdout=output)
    wait_for(lambda: [output_of(pid) for pid in service.calls()] == [str(path)])
    return waiting


def output_of(pid):
    """Where a process's standard output goes: a worker takes its caller's when it begins."""
    with suppress(FileNotFoundError):
        return os.readlink(f"/proc/{pid}/fd/1")


def test_a_front_that_is_killed_takes_its_worker_along(service):
    waiting = begin_waiting(service)
    waiting.kill()
    waiting.wait(30)
    wait_for(lambda: not service.calls())


def test_a_container_that_lost_its_monitor_is_looked_after(service):
    """Its policy counts, though nobody but the launcher can see its end."""
    service.ok("run", "-d", "--name", "one", "--restart", "always", "busybox", "sleep", "600")
    service.kill_monitor("one")
    service.kill_init("one")
    wait_for(lambda: service.ok("inspect", "-f", "{{.RestartCount}}", "one") == "1")
    wait_for(lambda: service.state_of("one") == "running")


def test_many_calls_leave_nothing(service):
    service.ok("ps", "-q")
    before = resident_kb(service.pid)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: service.call("ps", "-q"), range(200)))
    assert {tuple(one) for one in done} == {(0, "", "")}
    assert "Z" not in service.children().values()
    assert resident_kb(service.pid) - before < 1024


def resident_kb(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def test_no_descriptor_of_the_service_gets_into_monitors_and_containers(service):
    service.ok("run", "-d", "--name", "one", "busybox", "sleep", "600")
    note = service.init("one")
    own = descriptors_of(service.pid) - {os.devnull}
    assert own
    for pid in (note["monitor_pid"], note["pid"]):
        assert not own & descriptors_of(pid)
    listing = service.ok("exec", "one", "sh", "-c", "ls /proc/self/fd")
    assert listing.split() == ["0", "1", "2", "3"]


def descriptors_of(pid):
    """What a process has open."""
    directory = f"/proc/{pid}/fd"
    return {os.readlink(f"{directory}/{fd}") for fd in os.listdir(directory)}
