"""A worker dies with its caller, and of nothing else."""

import os
import signal
import socket

import pytest

from runengine.launcher.worker import die_with

pytestmark = pytest.mark.side_effects


@pytest.fixture
def worker():
    """A child that has its caller's socket: its pid, the caller's end, and what it says."""
    ours, theirs = socket.socketpair()
    told, tell = os.pipe()
    pid = os.fork()
    if not pid:
        ours.close()
        end = die_with(theirs)
        os.write(tell, b"1")
        signal.sigtimedwait([signal.SIGUSR1], 60)
        end()
        os.write(tell, b"2")
        signal.sigtimedwait([signal.SIGUSR1], 60)
        os._exit(7)
    theirs.close()
    os.close(tell)
    yield pid, ours, told
    ours.close()
    os.close(told)


@pytest.fixture(autouse=True)
def _awaited_signal():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_the_end_of_the_caller_kills(worker):
    pid, ours, told = worker
    assert os.read(told, 1) == b"1"
    ours.close()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_news_of_what_was_read_already_does_not(worker):
    pid, ours, told = worker
    assert os.read(told, 1) == b"1"
    os.kill(pid, signal.SIGIO)
    os.kill(pid, signal.SIGUSR1)
    assert os.read(told, 1) == b"2"
    ours.close()  # it does not listen any more
    os.kill(pid, signal.SIGUSR1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
