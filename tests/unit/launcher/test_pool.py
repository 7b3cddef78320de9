"""The workers of a launcher: who gets a call, who is forked, who goes."""

from __future__ import annotations

import os
import select
import signal
import socket
from itertools import count
from typing import TYPE_CHECKING

import pytest

from runengine import front
from runengine.launcher import pool as pools
from runengine.launcher.pool import LONG_QUIET_S, MOST_WAITING, QUIET_S, SPARE_AFTER_S, Pool
from runengine.launcher.spare import FREE, receive

if TYPE_CHECKING:
    from collections.abc import Iterator


class Forks:
    """Pretends to fork: keeps the workers' ends of their channels, by pid."""

    def __init__(self) -> None:
        self.channels: dict[int, socket.socket] = {}
        self.first_calls: dict[int, socket.socket | None] = {}
        self.refuses = False
        self._pids = count(2)

    def __call__(self, channel: socket.socket, call: socket.socket | None) -> int:
        if self.refuses:
            raise OSError(11, "Resource temporarily unavailable")
        pid = next(self._pids)
        self.channels[pid] = channel.dup()
        self.first_calls[pid] = call
        return pid

    def call_of(self, pid: int) -> socket.socket | None:
        """The call that a waiting worker was given."""
        self.channels[pid].settimeout(0)
        try:
            return receive(self.channels[pid])
        except BlockingIOError:
            return None


class Bench:
    """A pool with pretended workers and a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.forks = Forks()
        self.poll = select.poll()
        self.pool = Pool(self.poll, self.forks, lambda: self.now)
        self.callers: list[socket.socket] = []

    def call(self) -> socket.socket:
        """A call arrives; the caller's end of it."""
        ours, theirs = socket.socketpair()
        self.callers.append(ours)
        self.pool.serve(theirs)
        return ours

    def free(self, pid: int) -> None:
        """A worker says that its call is over."""
        self.forks.channels[pid].sendall(FREE)
        self.turn()

    def turn(self) -> None:
        """One turn of the launcher's loop."""
        for fd, _ in self.poll.poll(0):
            assert self.pool.hear(fd)
        self.pool.on_time()

    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds
        self.turn()

    @property
    def pids(self) -> list[int]:
        """Everybody that was ever forked."""
        return list(self.forks.channels)


@pytest.fixture(autouse=True)
def _no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has these pids, or somebody else."""
    monkeypatch.setattr(os, "kill", lambda *_: None)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(pools, "may_step_aside", lambda: False)
    made = Bench()
    yield made
    for sock in (*made.callers, *made.forks.channels.values()):
        sock.close()
    made.pool.close()


def test_a_prepared_worker_gets_the_call(bench: Bench):
    bench.pool.prepare()
    bench.call()
    (pid,) = bench.pids
    assert bench.forks.first_calls == {pid: None}
    with bench.forks.call_of(pid) or pytest.fail("no call") as given:
        assert given.fileno() != -1


def test_calls_one_after_the_other_go_to_one_worker(bench: Bench):
    for _ in range(3):
        bench.call()
        bench.free(bench.pids[0])
    assert len(bench.pids) == 1


def test_the_connection_is_let_go_when_the_call_is_over(bench: Bench):
    caller = bench.call()
    first = bench.forks.first_calls[bench.pids[0]]
    assert first is not None
    bench.free(bench.pids[0])
    assert first.fileno() == -1
    assert caller.recv(1) == b""


def test_the_last_to_serve_is_the_next(bench: Bench):
    bench.call()
    bench.call()
    one, other = bench.pids
    bench.free(other)
    bench.free(one)
    bench.call()
    given = bench.forks.call_of(one)
    assert given is not None
    given.close()
    assert bench.forks.call_of(other) is None


def test_while_all_are_busy_another_is_made_ready(bench: Bench):
    bench.call()
    bench.wait(SPARE_AFTER_S / 2)
    assert len(bench.pids) == 1
    bench.wait(SPARE_AFTER_S)
    assert bench.forks.first_calls[bench.pids[1]] is None


def test_short_calls_make_nobody_ready(bench: Bench):
    bench.call()
    bench.free(bench.pids[0])
    bench.wait(SPARE_AFTER_S * 2)
    assert len(bench.pids) == 1


def test_when_it_is_quiet_all_but_the_last_go(bench: Bench):
    for _ in range(3):
        bench.call()
    for pid in bench.pids:
        bench.free(pid)
    bench.wait(QUIET_S / 2)
    assert [ended(bench, pid) for pid in bench.pids] == [False, False, False]
    bench.wait(QUIET_S)
    assert [ended(bench, pid) for pid in bench.pids] == [True, True, False]


def ended(bench: Bench, pid: int) -> bool:
    """Whether a worker sees the end of its channel."""
    channel = bench.forks.channels[pid]
    channel.settimeout(0)
    try:
        return not channel.recv(1)
    except BlockingIOError:
        return False


def test_nothing_wakes_the_launcher_when_it_is_quiet(bench: Bench):
    assert bench.pool.timeout_ms() is None
    bench.call()
    wakes = bench.pool.timeout_ms()
    assert wakes is not None
    assert wakes > 0
    bench.free(bench.pids[0])
    bench.wait(LONG_QUIET_S + 1)
    bench.wait(LONG_QUIET_S + 1)
    assert bench.pool.timeout_ms() is None


def test_when_it_has_long_been_quiet_a_fresh_one_waits(bench: Bench):
    bench.call()
    bench.free(bench.pids[0])
    bench.wait(LONG_QUIET_S / 2)
    assert len(bench.pids) == 1
    bench.wait(LONG_QUIET_S)
    assert len(bench.pids) == 2
    assert ended(bench, bench.pids[0])
    assert not ended(bench, bench.pids[1])


def test_of_a_crowd_no_more_stay_than_are_allowed(bench: Bench):
    for _ in range(MOST_WAITING + 2):
        bench.call()
    for pid in bench.pids:
        bench.free(pid)
    assert [ended(bench, pid) for pid in bench.pids].count(True) == 2


def test_a_caller_is_told_how_its_worker_died(bench: Bench):
    caller = bench.call()
    assert bench.pool.ended(bench.pids[0], 9)
    assert caller.recv(2) == front.SIGNALLED + b"\x09"


def test_a_waiting_one_that_has_died_gets_no_call(bench: Bench):
    bench.pool.prepare()
    (dead,) = bench.pids
    bench.forks.channels[dead].close()
    bench.call()
    assert len(bench.pids) == 2
    assert not bench.pool.ended(dead, 9)


def test_the_end_of_a_waiting_one_is_heard_once(bench: Bench):
    bench.pool.prepare()
    (dead,) = bench.pids
    bench.forks.channels[dead].close()
    bench.turn()
    assert bench.poll.poll(0) == []
    assert bench.pool.ended(dead, 9)
    bench.call()
    assert len(bench.pids) == 2


def test_a_call_for_which_nobody_can_be_forked_is_left_to_its_caller(
    bench: Bench, capfd: pytest.CaptureFixture[str]
):
    bench.forks.refuses = True
    caller = bench.call()
    assert caller.recv(1) == b""
    assert "cannot fork" in capfd.readouterr().err
    bench.forks.refuses = False
    bench.call()
    assert len(bench.pids) == 1


def test_a_worker_whose_caller_has_gone_is_woken_for_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    """It may be stopped; it then hears nothing of the end."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *words: sent.append(words))
    bench.call().close()
    bench.turn()
    bench.turn()
    assert sent == [(bench.pids[0], signal.SIGCONT)]
    bench.free(bench.pids[0])
    bench.call()
    assert len(bench.pids) == 1


def test_others_descriptors_and_processes_are_not_its_own(bench: Bench):
    bench.call()
    assert not bench.pool.hear(10_000)
    assert not bench.pool.ended(10_000, 0)
