"""Waiting for a process's end through a descriptor, for a moment and for ages."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

from runengine.linux import pidfd
from tests.support.waiting import wait_for

MONTH_S = 31 * 86400.0


class Sleeper:
    """A poll(2) that takes what the real one takes; the process ends in the given sleep."""

    def __init__(self, ends_in: int | None) -> None:
        self.slept: list[int | None] = []
        self._ends_in = ends_in

    def register(self, fd: int, mask: int) -> None:
        """Nothing to be done."""

    def poll(self, timeout_ms: int | None) -> list[tuple[int, int]]:
        """Sleep, so to say."""
        assert timeout_ms is None or timeout_ms < 1 << 31
        self.slept.append(timeout_ms)
        return [(0, 1)] if len(self.slept) == self._ends_in else []


@pytest.mark.parametrize("timeout_s", [0, 0.001, -1])
def test_who_lives_is_not_waited_for_any_longer(timeout_s):
    fd = os.pidfd_open(os.getpid())
    try:
        assert pidfd.wait(fd, timeout_s) is False
    finally:
        os.close(fd)


@pytest.mark.parametrize("ends_in", [None, 1, 2])
def test_a_month_is_slept_in_parts(monkeypatch, ends_in):
    sleeper = Sleeper(ends_in)
    monkeypatch.setattr(select, "poll", lambda: sleeper)
    assert pidfd.wait(-1, MONTH_S) is (ends_in is not None)
    parts = [pidfd.MAX_POLL_MS, int(MONTH_S * 1000) - pidfd.MAX_POLL_MS]
    assert sleeper.slept == parts[:ends_in]


@pytest.mark.parametrize("timeout_s", [2**31, 2**53, 2**63 - 1])
def test_no_time_is_too_long_to_wait(monkeypatch, timeout_s):
    sleeper = Sleeper(ends_in=1)
    monkeypatch.setattr(select, "poll", lambda: sleeper)
    assert pidfd.wait(-1, timeout_s) is True


BEHEADED = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
print("there", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.mark.side_effects
def test_a_process_lives_as_long_as_any_of_its_threads():
    with subprocess.Popen([sys.executable, "-c", BEHEADED], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"there\n"
            wait_for(lambda: state_of(process.pid) == "Z")
            started = pidfd.start_time(process.pid)
            assert started
            assert pidfd.is_alive(process.pid, started)
        finally:
            process.kill()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert pidfd.start_time(process.pid) is None  # a zombie, all of it


@pytest.mark.side_effects
def test_who_is_stopped():
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            assert not pidfd.is_stopped(process.pid)
            process.send_signal(signal.SIGSTOP)
            wait_for(lambda: pidfd.is_stopped(process.pid))
        finally:
            process.kill()


def state_of(pid):
    """As proc_pid_stat(5) has it."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]
