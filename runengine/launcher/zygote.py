"""The launcher's end of the zygote: starts it, hears from it, and knows what its end means."""

from __future__ import annotations

import socket

from runengine.monitor import launch
from runengine.monitor.zygote import READY, VIOLENCE

RECEIVE_SIZE = 4096


class Zygote:
    """One process. While it lives, requests for monitors on ``asked`` are its own to take."""

    def __init__(self, asked: socket.socket, directory: str) -> None:
        """Start it; whoever asks before it is ready waits for it. Raises OSError.

        ``directory`` is for what it rehearses.
        """
        self._channel, theirs = socket.socketpair()
        with theirs:
            try:
                self.pid = launch.spawn_zygote(asked.fileno(), theirs.fileno(), directory)
            except OSError:
                self._channel.close()
                raise
        self._channel.settimeout(0)
        self.was_ready = False
        """One that ended before is not to be tried again at once."""

    def fileno(self) -> int:
        """Readable when it has something to say."""
        return self._channel.fileno()

    def heard_violence(self) -> bool:
        """Hear it; whether a monitor has died that could not say how its container ended."""
        try:
            words = self._channel.recv(RECEIVE_SIZE)
        except OSError:
            return False
        self.was_ready |= READY in words
        return VIOLENCE in words

    def let_go(self) -> None:
        """It has ended, or is to end: it does when nobody has the other end any more."""
        self._channel.close()

    def forget(self) -> None:
        """In another child, which closes what it inherits by number."""
        self._channel.detach()
