"""Namespaces: fresh ones, what is done inside, and that no thread is left in one."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runengine.errors import NotFound
from runengine.linux import libc
from runengine.netns import namespace
from tests.support import nethosts
from tests.support.waiting import wait_for

pytestmark = pytest.mark.root

ROOT = Path(__file__).resolve().parents[2]


def here() -> str:
    return os.readlink("/proc/thread-self/ns/net")


def of_all_threads() -> set[str]:
    found = set()
    for task in os.listdir("/proc/self/task"):
        try:
            found.add(os.readlink(f"/proc/self/task/{task}/ns/net"))
        except FileNotFoundError:
            continue
    return found


@pytest.fixture
def fresh():
    fd = namespace.new()
    yield fd
    os.close(fd)


@pytest.fixture(autouse=True)
def _nobody_left_behind():
    before = here()
    yield
    assert here() == before
    # A thread that was waited for may be on its last instructions.
    wait_for(lambda: of_all_threads() == {before}, "all threads are in one namespace")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_fresh_namespace_has_a_loopback_that_works(fresh, address):
    def talk() -> None:
        with nethosts.listener(address, 0) as server:
            port = server.getsockname()[1]
            socket.create_connection((address, port), nethosts.PATIENCE_S).close()

    namespace.call(fresh, talk)
    assert namespace.call(fresh, nethosts.names_of_links) == {"lo"}


def test_it_is_another_namespace_each_time(fresh):
    other = namespace.new()
    try:
        inside = {namespace.call(fd, here) for fd in (fresh, other)}
    finally:
        os.close(other)
    assert len(inside) == 2
    assert here() not in inside


def test_its_descriptor_is_not_handed_on(fresh):
    assert fcntl.fcntl(fresh, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def test_many_threads_make_and_enter_at_once():
    def one(_number: int) -> tuple[str, str, str]:
        before = here()
        fd = namespace.new()
        try:
            with namespace.entered(fd):
                inside = here()
        finally:
            os.close(fd)
        return before, inside, here()

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(one, range(64)))
    assert {before for before, _, _ in found} == {after for _, _, after in found} == {here()}
    assert here() not in {inside for _, inside, _ in found}


def test_what_is_raised_inside_is_raised_here(fresh):
    def fail() -> None:
        raise LookupError("inside")

    with pytest.raises(LookupError, match="inside"):
        namespace.call(fresh, fail)


def test_no_namespace_is_no_namespace(tmp_path):
    with open(tmp_path / "file", "w") as file:
        with pytest.raises(OSError, match="setns"):
            namespace.call(file.fileno(), here)
        with pytest.raises(OSError, match="setns"), namespace.entered(file.fileno()):
            pytest.fail("entered a file")


def test_a_call_that_is_interrupted_has_ended(fresh):
    ended = []

    def work() -> None:
        time.sleep(0.3)
        ended.append(True)

    nethosts.interrupted(lambda: namespace.call(fresh, work), 0.05)
    assert ended


def test_interruptions_at_any_moment_leave_nobody_inside(fresh):
    """In a process of its own: an interrupted assignment loses the descriptor it was for."""

    def visit() -> None:
        namespace.call(namespace.new(), here)
        with namespace.entered(fresh):
            time.sleep(0.001)

    pid = os.fork()
    if not pid:
        moved = 1
        try:
            before = here()
            for step in range(200):
                nethosts.interrupted(visit, 0.00002 * (step % 50 + 1))
                assert here() == before
            moved = 0
        finally:
            os._exit(moved)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_making_that_is_interrupted_gives_its_descriptor_back(monkeypatch):
    monkeypatch.setattr(namespace._Job, "wait", interrupted_wait(namespace._Job.wait))
    with pytest.raises(nethosts.Interrupt):
        namespace.new()


def interrupted_wait(real):
    pending = [nethosts.Interrupt]

    def wait(job) -> None:
        real(job)
        if pending:
            raise pending.pop()

    return wait


def test_work_that_has_not_begun_is_given_up(monkeypatch, fresh):
    """The interruption comes before the thread has done anything."""
    done = []
    late = []

    def start(function, args):
        late.append(lambda: function(*args))
        raise nethosts.Interrupt

    monkeypatch.setattr("_thread.start_new_thread", start)
    with pytest.raises(nethosts.Interrupt):
        namespace.call(fresh, lambda: done.append(True))
    late[0]()
    assert not done


def test_entering_comes_back_after_an_error(fresh):
    before = here()
    with pytest.raises(LookupError), namespace.entered(fresh):  # noqa: PT012
        assert here() != before
        raise LookupError
    assert here() == before


def test_entering_twice_comes_back_step_by_step(fresh):
    other = namespace.new()
    try:
        with namespace.entered(fresh):
            first = here()
            with namespace.entered(other):
                assert here() != first
            assert here() == first
    finally:
        os.close(other)


def test_a_socket_stays_where_it_was_made(fresh):
    with namespace.entered(fresh):
        server = nethosts.listener("127.0.0.1", 0)
    with server:
        port = server.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1)
        namespace.call(fresh, lambda: socket.create_connection(("127.0.0.1", port), 1).close())


def test_a_process_that_cannot_go_back_ends(fresh, capfd):
    """Rather than that it goes on in a container's network."""
    pid = os.fork()
    if not pid:
        with namespace.entered(fresh):

            def refuse(_fd: int, _kind: int) -> None:
                raise PermissionError("setns: Operation not permitted")

            libc.setns = refuse  # type: ignore[assignment]
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGABRT
    assert "cannot leave a network namespace" in capfd.readouterr().err


def test_the_namespace_of_a_process():
    fd = namespace.of_process(os.getpid())
    try:
        assert namespace.call(fd, here) == here()
        assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    finally:
        os.close(fd)


def test_a_process_that_has_ended_has_none():
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    with pytest.raises(NotFound, match=f"process {pid}"):
        namespace.of_process(pid)


def test_a_kill_leaves_neither_namespace_nor_interface():
    script = textwrap.dedent("""
        import sys, time
        from runengine.netns import endpoint, namespace
        from tests.support import nethosts
        fd = namespace.new()
        endpoint.attach(nethosts.on_bridge(2, host_name="vekilled"), fd)
        print("made", flush=True)
        time.sleep(60)
    """)
    with nethosts.bridged_host():
        with subprocess.Popen(
            [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "made\n"
            assert "vekilled" in nethosts.names_of_links()
            process.kill()
        nethosts.wait_until_gone("vekilled")
