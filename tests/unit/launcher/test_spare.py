"""The worker that waits: it gets the connection, and rehearses only while nobody calls."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from runengine.launcher.spare import FREE, Spare, await_connection, receive, send
from runengine.linux import pidfd
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Pair = tuple[socket.socket, socket.socket]


def both_ends() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


channel = pytest.fixture(both_ends)
call = pytest.fixture(both_ends)


def spare_at(channel: socket.socket) -> Spare:
    return Spare(os.getpid(), channel, aside=False)


def never(goes_on: Callable[[], bool]) -> None:
    assert not goes_on(), "a rehearsal while somebody calls"


def test_a_connection_arrives_whole(channel: Pair, call: Pair):
    assert spare_at(channel[0]).give(call[1])
    found = await_connection(channel[1], never)
    assert found is not None
    with found:
        call[0].sendall(b"a call")
        assert found.recv(100) == b"a call"
        assert not os.get_inheritable(found.fileno())


def test_one_worker_takes_one_connection_after_the_other(channel: Pair, call: Pair):
    waiting = spare_at(channel[0])
    for _ in range(2):
        assert waiting.give(call[1])
        found = await_connection(channel[1])
        assert found is not None
        with found:
            assert os.fstat(found.fileno()).st_ino == os.fstat(call[1].fileno()).st_ino
        assert waiting.hear() is None
        channel[1].sendall(FREE)
        assert waiting.hear() == FREE


@pytest.mark.side_effects
def test_one_that_somebody_has_stopped_goes_on(channel: Pair, call: Pair):
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            process.send_signal(signal.SIGSTOP)
            wait_for(lambda: pidfd.is_stopped(process.pid))
            assert Spare(process.pid, channel[0], aside=False).give(call[1])
            wait_for(lambda: not pidfd.is_stopped(process.pid))
        finally:
            process.kill()


def test_the_end_of_one_is_heard(channel: Pair):
    waiting = spare_at(channel[0])
    channel[1].close()
    assert waiting.hear() == b""


def test_it_rehearses_while_it_is_quiet(channel: Pair, call: Pair):
    told: list[bool] = []

    def rehearse(goes_on: Callable[[], bool]) -> None:
        told.append(goes_on())
        spare_at(channel[0]).give(call[1])
        told.append(goes_on())

    found = await_connection(channel[1], rehearse)
    assert found is not None
    found.close()
    assert told == [True, False]


def test_without_a_launcher_it_ends(channel: Pair):
    spare_at(channel[0]).let_go()
    assert await_connection(channel[1], never) is None


def test_a_dead_one_takes_nothing(channel: Pair, call: Pair):
    channel[1].close()
    assert not spare_at(channel[0]).give(call[1])
    assert call[1].fileno() != -1


def test_another_child_forgets_it_by_number_alone(channel: Pair):
    number = channel[0].fileno()
    spare_at(channel[0]).forget()
    os.close(number)  # as a child does with all that it inherits
    assert channel[0].fileno() == -1


def test_what_is_asked_for_comes_in_order(call: Pair):
    asked, asking = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with asked, asking:
        for end in call:
            send(asking, end)
        for end in call:
            found = receive(asked)
            assert found is not None
            with found:
                assert os.fstat(found.fileno()).st_ino == os.fstat(end.fileno()).st_ino


def test_it_steps_aside_until_it_has_a_connection(
    channel: Pair, call: Pair, monkeypatch: pytest.MonkeyPatch
):
    policies: list[int] = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda _pid, policy, _: policies.append(policy))
    waiting = Spare(os.getpid(), channel[0], aside=True)
    assert policies == [os.SCHED_IDLE]
    assert waiting.give(call[1])
    assert waiting.give(call[1])
    assert policies == [os.SCHED_IDLE, os.SCHED_OTHER]


def test_one_that_cannot_be_fetched_back_takes_nothing(
    channel: Pair, call: Pair, monkeypatch: pytest.MonkeyPatch
):
    def refuse(_pid: int, policy: int, _: os.sched_param) -> None:
        if policy == os.SCHED_OTHER:
            raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    assert not Spare(os.getpid(), channel[0], aside=True).give(call[1])
