"""The server beside the launcher, which answers Prometheus: begins with it and ends with it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from runengine.launcher.log import log

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[], int]

LIVES_S = 1.0
"""One that is killed sooner would be killed again: it is not replaced."""


class Side:
    """A child of the launcher, or none; one that is killed is replaced by another."""

    def __init__(self, work: Work | None, fork: Callable[[Work], int]) -> None:
        self._work = work
        self._fork = fork
        self._pid = 0
        self._began = 0.0

    def begin(self) -> None:
        """Have one, if it is wanted."""
        if self._work is None:
            return
        self._began = time.monotonic()
        try:
            self._pid = self._fork(self._work)
        except OSError as error:
            log(f"cannot start the metrics server: {error.strerror}")

    def has(self, pid: int) -> bool:
        """Whether it is that one."""
        return bool(self._pid) and pid == self._pid

    def ended(self, status: int) -> None:
        """It has ended with this wait status."""
        self._pid = 0
        if not os.WIFSIGNALED(status):
            log("the metrics server has ended; the service goes on without it")
        elif time.monotonic() - self._began < LIVES_S:
            log(f"the metrics server was killed by {_name(status)} at its start; it is left out")
        else:
            log(f"the metrics server was killed by {_name(status)}; another one begins")
            self.begin()

    def end(self) -> None:
        """End it, as the service ends."""
        self._work = None
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)


def _name(status: int) -> str:
    number = os.WTERMSIG(status)
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
