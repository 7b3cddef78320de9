"""A terminal that its process closes for a while, as systemd does."""

from __future__ import annotations

import os
import pty
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from runengine.monitor import wire
from runengine.monitor.session import Session, Streams

if TYPE_CHECKING:
    from collections.abc import Callable


class Kept:
    """A log that keeps what it gets."""

    full = False
    room_fd: int | None = None

    def __init__(self) -> None:
        self.data = b""

    def write(self, _stream: str, data: bytes) -> None:
        """Keep it."""
        self.data += data

    def close(self) -> None:
        """Nothing to do."""


def say(name: str, text: bytes) -> None:
    """Open the terminal for one message."""
    fd = os.open(name, os.O_WRONLY | os.O_NOCTTY)
    os.write(fd, text)
    os.close(fd)


@pytest.fixture
def terminal() -> tuple[int, str]:
    """The master, and the name of the other side, which nobody has open."""
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    os.close(slave)
    return master, name


def begin(master: int, log: Kept) -> tuple[Session, Callable[[], None]]:
    """A session on the terminal, and what its loop does when there is something to read."""
    streams = Streams(master, {master: wire.STDOUT}, terminal=True)
    session = Session(mock.Mock(), streams, log=log, close_on_eof=False)
    session.begin()
    return session, lambda: session._on_output(master, 1)


def test_what_is_closed_may_be_opened_again(terminal: tuple[int, str]):
    log, (master, name) = Kept(), terminal
    session, read = begin(master, log)
    read()  # nobody has it open
    for word in (b"one ", b"two "):
        say(name, word)
        read()
    say(name, b"three")
    ended = mock.Mock()
    session.drain(5, ended)
    for _ in range(2):
        read()
    assert log.data == b"one two three"
    ended.assert_called_once_with()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(master)


def test_closing_lets_it_go(terminal: tuple[int, str]):
    session, read = begin(terminal[0], Kept())
    read()
    session.close()  # what would be left open fails the test


def test_an_older_kernel_cannot_hold_it(
    terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch
):
    session, read = begin(terminal[0], Kept())
    monkeypatch.setattr("fcntl.ioctl", mock.Mock(side_effect=OSError(25, "no such request")))
    read()
    assert not session._streams.outputs
