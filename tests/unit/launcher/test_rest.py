"""What a worker puts back after a call, and what keeps it from serving another."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from typing import TYPE_CHECKING

import pytest

from runengine.launcher import caller
from runengine.launcher.rest import WAITING, Rest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.side_effects


def in_a_worker(act: Callable[[Rest], object]) -> None:
    """Do it in a child, which fails the test with what it says."""
    told, tell = os.pipe()
    pid = os.fork()
    if not pid:
        text = ""
        try:
            os.setsid()  # as a worker does: it has no terminal
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            act(Rest(caller.world_of("self", caller.Status("self")), *open_ones()))
        except BaseException:  # noqa: BLE001 - it goes to the parent
            text = traceback.format_exc()
        os.write(tell, text.encode())
        os._exit(0)
    os.close(tell)
    with os.fdopen(told) as file:
        text = file.read()
    assert (os.waitpid(pid, 0)[1], text) == (0, ""), text


def open_ones() -> list[int]:
    """What pytest has open, which is its own."""
    return [fd for fd in map(int, os.listdir("/proc/self/fd")) if is_open(fd)]


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def nothing() -> object:
    return object()


def test_what_was_not_changed_is_as_it_was():
    def act(rest: Rest) -> None:
        for _ in range(3):
            assert rest.restore(nothing)

    in_a_worker(act)


def test_it_is_known_as_one_that_waits():
    def act(rest: Rest) -> None:
        import prctl

        usual = prctl.get_name()
        assert rest.restore(nothing)
        assert prctl.get_name() == WAITING
        rest.end()
        assert prctl.get_name() == usual

    in_a_worker(act)


def test_what_can_be_put_back_is():
    def act(rest: Rest) -> None:
        parents = os.umask(0o077)
        os.umask(0o123)
        os.chdir("/tmp")
        os.environ["TMPDIR"] = "/nowhere"
        tempfile.tempdir = "/nowhere"
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        os.kill(os.getpid(), signal.SIGHUP)
        assert rest.restore(nothing)
        assert os.umask(0) == parents
        assert os.getcwd() == "/"
        assert "TMPDIR" not in os.environ
        assert tempfile.gettempdir() != "/nowhere"
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()

    in_a_worker(act)


def test_input_that_was_read_ahead_is_gone():
    def act(rest: Rest) -> None:
        reader, writer = os.pipe()
        os.write(writer, b"one\ntwo\n")
        os.close(writer)
        os.dup2(reader, 0)
        os.close(reader)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - a worker's is never closed
        assert sys.stdin.readline() == "one\n"
        assert rest.restore(nothing)
        assert sys.stdin.read() == ""

    in_a_worker(act)


def test_what_is_held_stays_open():
    def act(rest: Rest) -> None:
        held = []

        def hold() -> object:
            held.append(os.open("/", os.O_RDONLY))
            return held

        assert rest.restore(hold)
        assert rest.restore(hold)
        assert len(held) == 1

    in_a_worker(act)


def leave_a_descriptor() -> object:
    return os.dup(0)


def leave_no_descriptor() -> object:
    os.close(2)
    return None


def leave_a_socket() -> object:
    return socket.socketpair()


def leave_a_thread() -> object:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return None


def leave_a_child() -> object:
    return subprocess.Popen(["/bin/true"])


@pytest.mark.parametrize(
    "leave",
    [leave_a_descriptor, leave_no_descriptor, leave_a_socket, leave_a_thread, leave_a_child],
)
def test_who_leaves_something_serves_no_other_call(leave: Callable[[], object]):
    left = []

    def act(rest: Rest) -> None:
        left.append(leave())
        assert not rest.restore(nothing)

    in_a_worker(act)


def test_who_is_in_another_world_serves_no_other_call():
    def act(rest: Rest) -> None:
        elsewhere = caller.World((), (0, 0), (), b"elsewhere")
        rest._world = elsewhere
        assert not rest.restore(nothing)

    in_a_worker(act)


def test_who_has_grown_serves_no_other_call():
    def act(rest: Rest) -> None:
        grown = bytearray(os.urandom(1 << 20) * 40)
        assert not rest.restore(nothing)
        del grown
        assert rest.restore(nothing)

    in_a_worker(act)
