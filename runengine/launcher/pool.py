"""The workers: which of them wait for a call, which serve one, and how many there are.

Calls that come one after the other are served by one worker, the one that served last. Where none
waits, one is forked for the call at once. A little later another is made ready, should they all be
busy still, and when it is quiet all but one go.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from runengine import front
from runengine.launcher.log import log
from runengine.launcher.spare import FREE, Spare, may_step_aside

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_WAITING = 16
"""A worker has some 10 MiB of its own: what a crowd needed goes when more than this wait."""
SPARE_AFTER_S = 0.03
"""Most calls have ended by then, so that nobody has to be forked in vain."""
QUIET_S = 5.0
"""After so long without a call the service has the memory of one waiting worker, no more."""
LONG_QUIET_S = 300.0
"""After so long that one has served no call: what calls have imported goes (12 MiB for a pull)."""


class Fork(Protocol):
    """What forks a worker."""

    def __call__(self, channel: socket.socket, call: socket.socket | None) -> int:
        """Fork one and return its pid. Raises OSError.

        ``channel`` is its end, ``call`` the connection that it serves first; without one it is to
        wait, and to rehearse.
        """


class Pool:
    """All workers of a launcher."""

    def __init__(
        self, poll: select.poll, fork: Fork, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._poll = poll
        self._fork = fork
        self._clock = clock
        self._aside = may_step_aside()
        self._waiting: list[Spare] = []
        self._serving: dict[int, tuple[Spare, socket.socket]] = {}
        self._due: float | None = None
        self._called_at: float | None = None
        """The last call, as long as who served it may be waiting."""

    def serve(self, call: socket.socket) -> None:
        """Have a call served; its connection is ours from now on."""
        # Without an event asked for, it tells of the caller's end alone.
        self._poll.register(call, 0)
        while self._waiting:
            spare = self._waiting.pop()
            if spare.give(call):
                self._serving[spare.pid] = (spare, call)
                break
            self._drop(spare)
        else:
            self._fork_for(call)
        self._called_at = self._clock()
        self._due = self._called_at + (QUIET_S if self._waiting else SPARE_AFTER_S)

    def _fork_for(self, call: socket.socket) -> None:
        try:
            spare = self._new(call)
        except OSError as error:
            # The caller sees the end of file and runs cold.
            log(f"cannot fork: {error.strerror}")
            self._let_go(call)
        else:
            self._serving[spare.pid] = (spare, call)

    def prepare(self) -> None:
        """Have a worker for the next call; without one that call takes longer, no more."""
        with suppress(OSError):
            self._waiting.insert(0, self._new(None))

    def _new(self, call: socket.socket | None) -> Spare:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                pid = self._fork(theirs, call)
            spare = Spare(pid, ours, aside=call is None and self._aside)
        except OSError:
            ours.close()
            raise
        self._poll.register(ours, select.POLLIN)
        return spare

    # Time

    def timeout_ms(self) -> int | None:
        """How long to wait before ``on_time`` has something to do; None for ever."""
        return None if self._due is None else max(0, int((self._due - self._clock()) * 1000) + 1)

    def on_time(self) -> None:
        """Make ready what was lacking, or let go what nobody has needed for a while."""
        if self._due is None or self._clock() < self._due:
            return
        self._due = None
        if not self._waiting:
            self.prepare()
            self._due = self._clock() + QUIET_S
            return
        # The one that served last has all in its memory that it needs.
        while len(self._waiting) > 1:
            self._drop(self._waiting.pop(0))
        if self._called_at is not None:
            self._renew(self._called_at + LONG_QUIET_S)

    def _renew(self, due: float) -> None:
        """Have a worker that has served no call wait in the place of one that has."""
        if self._clock() < due:
            self._due = due
            return
        self._called_at = None
        self._drop(self._waiting.pop())
        self.prepare()

    # Words and ends of workers

    def hear(self, fd: int) -> bool:
        """Hear the worker whose channel this is, or the caller; False if it is nobody's."""
        for spare, call in self._serving.values():
            if call.fileno() == fd:
                self._lost(spare, call)
                return True
        for spare in (*self._waiting, *(spare for spare, _ in self._serving.values())):
            if spare.fileno() == fd:
                self._hear(spare)
                return True
        return False

    def _lost(self, spare: Spare, call: socket.socket) -> None:
        """Its caller has ended, so the worker does; one that is stopped has to be woken for it."""
        self._poll.unregister(call)
        with suppress(ProcessLookupError):
            os.kill(spare.pid, signal.SIGCONT)

    def _hear(self, spare: Spare) -> None:
        word = spare.hear()
        if word == FREE and spare.pid in self._serving:
            self._let_go(self._serving.pop(spare.pid)[1])
            self._have_waiting(spare)
        elif word is not None:
            # It ends; that it has ended will be told by the kernel.
            self._poll.unregister(spare)

    def _have_waiting(self, spare: Spare) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self._drop(spare)
            return
        self._waiting.append(spare)
        self._called_at = self._clock()
        self._due = self._called_at + QUIET_S

    def ended(self, pid: int, status: int) -> bool:
        """Whether ``pid`` was a worker: it has ended so."""
        if pid in self._serving:
            spare, call = self._serving.pop(pid)
            # A worker that went in its own way has told already; this is for the others.
            with suppress(OSError):
                call.send(front.describe(status), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            self._let_go(call)
            self._drop(spare)
            return True
        for spare in self._waiting:
            if spare.pid == pid:
                self._waiting.remove(spare)
                self._drop(spare)
                return True
        return False

    def _let_go(self, call: socket.socket) -> None:
        with suppress(KeyError):  # unregistered already, if its caller had gone
            self._poll.unregister(call)
        call.close()

    def _drop(self, spare: Spare) -> None:
        with suppress(KeyError):  # unregistered already, if it had died
            self._poll.unregister(spare)
        spare.let_go()

    def end(self) -> None:
        """End those who wait; calls under way go on."""
        for spare in self._waiting:
            spare.end()
        self._waiting.clear()
        self.close()

    def close(self) -> None:
        """Let go of all; those who wait end by themselves."""
        for spare in self._waiting:
            spare.let_go()
        for spare, call in self._serving.values():
            spare.let_go()
            call.close()

    def forget(self) -> None:
        """In another child, which closes what it inherits by number."""
        for spare in self._waiting:
            spare.forget()
        for spare, call in self._serving.values():
            spare.forget()
            call.detach()
