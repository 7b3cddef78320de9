"""A worker forked ahead of its call: what it waits for is a connection from the launcher.

The fork, and the first writes to memory that a child shares with its parent, take a third of a
short call. One child always has them behind it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from typing import TYPE_CHECKING

from runengine.linux import kernel

if TYPE_CHECKING:
    from collections.abc import Callable

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
        self._aside = aside
        if aside:
            os.sched_setscheduler(pid, os.SCHED_IDLE, _PARAMETERS)

    def give(self, connection: socket.socket) -> bool:
        """Hand a connection over, and let go; False if the child has died."""
        with self._channel:
            try:
                if self._aside:
                    os.sched_setscheduler(self.pid, os.SCHED_OTHER, _PARAMETERS)
                send(self._channel, connection)
            except OSError:
                return False
        return True

    def let_go(self) -> None:
        """It has ended."""
        self._channel.close()

    def end(self) -> None:
        """End it now: what it may be rehearsing is nobody's."""
        self._channel.close()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def forget(self) -> None:
        """In another child, which closes what it inherits by number."""
        self._channel.detach()


def await_connection(
    channel: socket.socket, rehearse: Callable[[Callable[[], bool]], None]
) -> socket.socket | None:
    """In the child: wait, and rehearse meanwhile; None if the launcher let go.

    ``rehearse`` goes on as long as the function that it gets says so.
    """
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    with channel:
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
