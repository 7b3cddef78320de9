"""A worker between calls: what it waits for is a connection from the launcher.

The fork, and the first writes to memory that a child shares with its parent, take a third of a
short call. A worker that waits has them behind it, most of all one that has served a call before.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from runengine.linux import kernel

if TYPE_CHECKING:
    from collections.abc import Callable

FREE = b"F"
"""The worker's word: the call is over, and I am as I was before it."""
_PARAMETERS = os.sched_param(0)


def may_step_aside() -> bool:
    """Whether a process can be put behind all others and, above all, be fetched back."""
    return "CAP_SYS_NICE" in kernel.read("/").effective


class Spare:
    """The launcher's end of one: its pid, and the channel to it.

    ``aside``: it is to run only while nobody else wants to, until it has a connection.
    """

    def __init__(self, pid: int, channel: socket.socket, *, aside: bool) -> None:
        self.pid = pid
        self._channel = channel
        self._channel.settimeout(0)
        self._aside = aside
        if aside:
            os.sched_setscheduler(pid, os.SCHED_IDLE, _PARAMETERS)

    def fileno(self) -> int:
        """Readable when it has a word for us, or has ended."""
        return self._channel.fileno()

    def give(self, connection: socket.socket) -> bool:
        """Hand a connection over; False if the child has died."""
        try:
            if self._aside:
                os.sched_setscheduler(self.pid, os.SCHED_OTHER, _PARAMETERS)
                self._aside = False
            # Were it stopped, by whomever, its caller would wait for it.
            os.kill(self.pid, signal.SIGCONT)
            send(self._channel, connection)
        except OSError:
            return False
        return True

    def hear(self) -> bytes | None:
        """Its word; empty if it has ended, None if it has said nothing."""
        try:
            return self._channel.recv(1)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def let_go(self) -> None:
        """It has ended, or is to end: it does when nobody has the other end any more."""
        self._channel.close()

    def end(self) -> None:
        """End it now: what it may be rehearsing is nobody's."""
        self._channel.close()
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def forget(self) -> None:
        """In another child, which closes what it inherits by number."""
        self._channel.detach()


def await_connection(
    channel: socket.socket, rehearse: Callable[[Callable[[], bool]], None] | None = None
) -> socket.socket | None:
    """In the child: wait, and rehearse meanwhile; None if the launcher let go.

    ``rehearse`` goes on as long as the function that it gets says so.
    """
    if rehearse is not None:
        poll = select.poll()
        poll.register(channel, select.POLLIN)
        rehearse(lambda: not poll.poll(0))
    return receive(channel)


def send(channel: socket.socket, connection: socket.socket) -> None:
    """Pass a connection on. Raises OSError."""
    socket.send_fds(channel, [b"\0"], [connection.fileno()])


def receive(channel: socket.socket) -> socket.socket | None:
    """The next connection that is passed on; None at the channel's end. Raises OSError."""
    _, fds, _, _ = socket.recv_fds(channel, 1, 1)
    if not fds:
        return None
    connection = socket.socket(fileno=fds[0])
    connection.set_inheritable(False)
    return connection
