"""One worker serves call after call, and none finds anything of the one before."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from runengine import front
from tests.support import needs
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox")]


@pytest.fixture
def service(shared_service):
    wait_for(lambda: not shared_service.calls())
    yield shared_service
    shared_service.clear()


def worker_of(service):
    """Who serves a call that comes when nobody else has one."""
    wait_for(lambda: not service.calls())
    with service.connect() as sock:
        serving = ask(sock, service, "ps", "-q")
        assert sock.recv(2, socket.MSG_WAITALL) == front.EXITED + b"\0"
    return serving


def shell(service, script, *arguments, cwd="/"):
    """Make a call from a shell that first makes its own process a special one."""
    command = service.command(*arguments)
    return subprocess.run(
        ["sh", "-c", f'{script}; exec "$@"', "sh", *command],
        env=service.environment, capture_output=True, text=True, timeout=60, check=False, cwd=cwd,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


RUN = ("run", "--rm", "-i", "busybox")


def test_calls_one_after_the_other_have_the_same_workers(service):
    """One, or two: a long call has another made ready meanwhile."""
    workers = {worker_of(service)}
    service.ok("create", "--name", "one", "busybox", "true")
    workers.add(worker_of(service))
    assert service.ok("start", "-a", "one") == ""
    workers.add(worker_of(service))
    assert service.call("run", "--rm", "busybox", "sh", "-c", "exit 3").code == 3
    workers.add(worker_of(service))
    assert service.call("ps", "--no-such-option").code == 125
    workers.add(worker_of(service))
    service.ok("rm", "one")
    workers.add(worker_of(service))
    assert len(workers) <= 2


@pytest.mark.parametrize(
    ("script", "look"),
    [
        ("umask 077", "umask"),
        ("ulimit -S -s 4321", "ulimit -s"),
        ("renice -n 3 $$ >&2", "cut -d' ' -f19 /proc/self/stat"),
        ("echo 500 > /proc/self/oom_score_adj", "cat /proc/self/oom_score_adj"),
    ],
)
def test_what_one_caller_is_the_next_is_not(service, script, look):
    """Had it stayed, the second container would show it, or the second call be refused."""
    usual = service.ok(*RUN, "sh", "-c", look)
    done = shell(service, script, *RUN, "sh", "-c", look)
    assert done.returncode == 0, done
    assert service.ok(*RUN, "sh", "-c", look) == usual


def test_environments_do_not_mix(service):
    words = ("run", "--rm", "-e", "SOMETHING", "busybox", "sh", "-c", "echo ${SOMETHING-unset}")
    assert shell(service, "export SOMETHING=1", *words).stdout == "1\n"
    assert service.ok(*words) == "unset"


def test_a_limit_that_cannot_be_raised_again_stays_nowhere(service):
    """Without CAP_SYS_RESOURCE that costs the worker."""
    done = shell(service, "ulimit -H -s 54321", *RUN, "sh", "-c", "ulimit -H -s")
    assert done.stdout.strip() == "54321"
    wait_for(lambda: not service.calls())
    limit = resource.prlimit(service.pid, resource.RLIMIT_STACK)
    found = {resource.prlimit(pid, resource.RLIMIT_STACK) for pid in service.waiting()}
    assert found <= {limit}


def test_input_that_was_not_read_is_nobody_elses(service):
    assert service.ok(*RUN, "head", "-c", "3", stdin=b"one\n" + b"x" * 100_000) == "one"
    assert service.ok(*RUN, "cat", stdin=b"") == ""


def test_output_that_could_not_be_written_is_nobody_elses(service):
    with open("/dev/full", "w") as full:
        done = service.begin("images", stdout=full, stderr=subprocess.DEVNULL)
        assert done.wait(60) != 0
    wait_for(lambda: not service.calls())
    assert service.ok("ps", "-q") == ""


def test_a_directory_is_let_go(service, tmp_path):
    done = shell(service, "mkdir gone && cd gone && rmdir ../gone", *RUN, "true", cwd=tmp_path)
    assert done.returncode == 0, done
    wait_for(lambda: not service.calls())
    assert not [pid for pid in service.waiting() if "gone" in os.readlink(f"/proc/{pid}/cwd")]


def begin_waiting(service):
    """A command that lasts, and its worker."""
    service.ok("run", "-d", "--name", "one", "busybox", "sleep", "600")
    wait_for(lambda: not service.calls())
    waiting = service.begin("wait", "one")
    wait_for(service.calls)
    (serving,) = service.calls()
    return waiting, serving


def test_a_call_that_dies_takes_its_worker_along(service):
    waiting, serving = begin_waiting(service)
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(30) == -signal.SIGTERM
    wait_for(lambda: serving not in service.workers())
    assert service.ok("ps", "-q", "--filter", "name=one")


def test_a_stopped_call_ends_with_its_front(service):
    """The kernel tells a stopped worker of its front's end, and it does not listen."""
    waiting, serving = begin_waiting(service)
    waiting.send_signal(signal.SIGTSTP)
    wait_for(lambda: service.children().get(serving) == "T")
    waiting.kill()
    waiting.wait(30)
    wait_for(lambda: serving not in service.workers())


def test_a_caller_that_does_not_go_keeps_its_worker_from_others(service):
    """It might still send signals that it means for its own call."""
    with service.connect() as sock:
        serving = ask(sock, service, "ps", "-q")
        assert sock.recv(2, socket.MSG_WAITALL) == front.EXITED + b"\0"
        service.ok("ps", "-q")
        wait_for(lambda: serving not in service.workers())
    assert service.ok("ps", "-q") == ""


def ask(sock, service, *arguments):
    """Speak as the front does; the pid of who answers."""
    environment = {os.fsencode(k): os.fsencode(v) for k, v in service.environment.items()}
    front._send(sock, [], list(arguments), environment)
    answer = b""
    while len(answer) < 6:
        answer += sock.recv(6 - len(answer)) or pytest.fail("no answer")
    assert answer[:2] == front.TAKEN + front.READY
    sock.sendall(front.GO)
    return int.from_bytes(answer[2:], "big")


def test_a_crowd_has_many_and_leaves_one(service):
    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(lambda _: service.call(*RUN, "true").code, range(12)))
    assert codes == [0] * 12
    wait_for(lambda: len(service.workers()) == 1)
    assert service.workers() == service.waiting()
