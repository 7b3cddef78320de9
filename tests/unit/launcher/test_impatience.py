"""A caller that does not wait for its worker: that is no news for the service's log."""

from __future__ import annotations

import socket

import pytest

from runengine import front
from runengine.launcher.worker import _agree


@pytest.fixture
def ends():
    """The caller's end of a connection, and the worker's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_it_has_gone_before_the_worker_answers(ends):
    caller, worker = ends
    caller.close()
    assert _agree(worker, [0, 1, 2]) is False


class Deserted(socket.socket):
    """A worker's end whose caller goes once the answer is on its way."""

    caller: socket.socket

    def settimeout(self, _value: float | None) -> None:
        """The first call after the answer was sent."""
        self.caller.close()


def test_it_goes_without_reading_the_answer(ends):
    caller, worker = ends
    with Deserted(fileno=worker.detach()) as deserted:
        deserted.caller = caller
        assert _agree(deserted, [0, 1, 2]) is False


def test_it_goes_with_the_answer(ends):
    caller, worker = ends
    caller.shutdown(socket.SHUT_WR)
    assert _agree(worker, [0, 1, 2]) is False
    assert caller.recv(1) == front.READY
