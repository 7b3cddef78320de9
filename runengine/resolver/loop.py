"""The resolver's one poll: sockets and a few timers. Without either it sleeps."""

from __future__ import annotations

import heapq
import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT


class Timer:
    """A call that is due; ``cancel`` may come too late without harm."""

    __slots__ = ("action", "due")

    def __init__(self, due: float, action: Callable[[], None]) -> None:
        self.due = due
        self.action: Callable[[], None] | None = action

    def __lt__(self, other: Timer) -> bool:
        return self.due < other.due

    def cancel(self) -> None:
        """Forget the call."""
        self.action = None


class Loop:
    """Runs until ``stop``. A handler's bug costs its own turn, never the process."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._lasting: set[int] = set()
        self._timers: list[Timer] = []
        self._stopped = False

    def watch(
        self, fd: int, mask: int, handler: Callable[[int], None], *, lasting: bool = False
    ) -> None:
        """Call ``handler`` with the events of ``fd``; again for another mask.

        After a bug in it no more, or the same event would come for ever; but for a ``lasting``
        one, which takes its event before anything else.
        """
        if lasting:
            self._lasting.add(fd)
        if fd in self._handlers:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.register(fd, mask)
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Watch no more, before the descriptor is closed; no error if it was not watched."""
        self._lasting.discard(fd)
        if self._handlers.pop(fd, None):
            self._epoll.unregister(fd)

    def later(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Call ``action`` once after a while."""
        timer = Timer(time.monotonic() + seconds, action)
        heapq.heappush(self._timers, timer)
        return timer

    def stop(self) -> None:
        """Leave ``run`` after the current turn."""
        self._stopped = True

    def run(self) -> None:
        """Sleep, handle, again."""
        while not self._stopped:
            for fd, events in self._epoll.poll(self._timeout_s()):
                handler = self._handlers.get(fd)
                if handler and not self._guarded(handler, events) and fd not in self._lasting:
                    self.forget(fd)
            self._run_timers()

    def close(self) -> None:
        """Free the descriptor."""
        self._epoll.close()

    def _guarded(self, handler: Callable[..., None], *args: int) -> bool:
        try:
            handler(*args)
        except Exception as error:  # noqa: BLE001 - one question's trouble must not end all others
            self._report(describe(error))
            return False
        return True

    def _timeout_s(self) -> float | None:
        while self._timers and not self._timers[0].action:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        return max(0.0, self._timers[0].due - time.monotonic())

    def _run_timers(self) -> None:
        if not self._timers:
            return
        now = time.monotonic()
        while self._timers and self._timers[0].due <= now:
            action = heapq.heappop(self._timers).action
            if action:
                self._guarded(action)


def describe(error: BaseException) -> str:
    """The error and where it came from; traceback would load too much."""
    text = f"{type(error).__name__}: {error}"
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    if trace:
        text += f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"
    return text
