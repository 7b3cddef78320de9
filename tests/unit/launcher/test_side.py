"""The metrics server beside the launcher: replaced when it is killed, not when it gives up."""

from __future__ import annotations

import errno
import signal

import pytest

from runengine.launcher import side
from runengine.launcher.side import Side

GAVE_UP = 1 << 8


@pytest.fixture
def clock(monkeypatch):
    """The time that the server believes, in a list."""
    now = [1000.0]
    monkeypatch.setattr(side.time, "monotonic", lambda: now[0])  # type: ignore[attr-defined]
    return now


@pytest.fixture
def told(monkeypatch):
    """The service's log."""
    lines: list[str] = []
    monkeypatch.setattr(side, "log", lines.append)
    return lines


def forked(pids):
    """A fork that gives these pids in turn."""
    return lambda _work: pids.pop(0)


def test_one_that_was_killed_is_replaced(clock, told):
    server = Side(int, forked([7, 8]))
    server.begin()
    clock[0] += 60
    assert server.has(7)
    server.ended(signal.SIGKILL)
    assert server.has(8)
    assert told == ["the metrics server was killed by SIGKILL; another one begins"]


def test_one_that_is_killed_at_once_is_left_out(clock, told):
    server = Side(int, forked([7]))
    server.begin()
    clock[0] += side.LIVES_S / 2
    server.ended(signal.SIGSEGV)
    assert not server.has(7)
    assert "killed by SIGSEGV at its start" in told[0]


def test_one_that_cannot_listen_is_left_out(clock, told):
    server = Side(int, forked([7]))
    server.begin()
    clock[0] += 60
    server.ended(GAVE_UP)
    assert not server.has(7)
    assert told == ["the metrics server has ended; the service goes on without it"]


def test_without_room_for_it_the_service_goes_on(clock, told):
    def full(_work):
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    server = Side(int, full)
    server.begin()
    assert not server.has(0)
    assert told == ["cannot start the metrics server: Resource temporarily unavailable"]


def test_nobody_is_asked_for_one_that_is_not_wanted(told):
    server = Side(None, forked([]))
    server.begin()
    assert not server.has(0)
    server.end()
    assert told == []


def test_a_service_that_ends_replaces_none(monkeypatch, clock, told):
    killed = []
    monkeypatch.setattr(side.os, "kill", lambda *what: killed.append(what))  # type: ignore[attr-defined]
    server = Side(int, forked([7]))
    server.begin()
    clock[0] += 60
    server.end()
    assert killed == [(7, signal.SIGTERM)]
    server.ended(signal.SIGTERM)
    assert not server.has(7)
