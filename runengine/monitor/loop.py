"""The monitor's one poll: descriptors, a few timers, and the end of every child.

The signal and socket modules load enum and selectors, 0.7 MB in each monitor; what they wrap
(``_signal``, ``_socket``) does all that is needed here.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
import time

from runengine.linux import fsatomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

    Handler = Callable[[int], None]
    ChildHandler = Callable[[int, str], None]
else:
    import _signal as signal

READ = select.POLLIN
WRITE = select.POLLOUT
GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL
UNSTARTED = "runc:[2:INIT]"
"""Name of a process that is still the runtime's, not yet the program it is to become."""
TIDY_S = 1.0
LONGEST_MS = (1 << 31) - 1
"""As long as poll(2) can sleep, some 24 days; then it is a turn in which nothing is due."""


class Timer:
    """A call that is due; ``cancel`` may come too late without harm."""

    __slots__ = ("action", "due")

    def __init__(self, due: float, action: Callable[[], None]) -> None:
        self.due = due
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Forget the call."""
        self.action = None


class Loop:
    """Runs until ``stop``. A handler's bug costs its own descriptor, never the monitor."""

    give_back: Callable[[], None] | None = None
    """Gives free memory to the kernel; the zygote has it, elsewhere it would cost more than it
    gives."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._poll = select.poll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[Timer] = []
        self._children: dict[int, ChildHandler] = {}
        self._strays: dict[int, tuple[int, str]] = {}
        self._starts = 0
        self._stopped = False
        self._untidy = False
        self._wake_fd = self._watch_children()

    def _watch_children(self) -> int:
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.watch(reader, READ, self._on_child)
        return reader

    def watch(self, fd: int, mask: int, handler: Handler) -> None:
        """Call ``handler`` with the events of ``fd``; again for another mask."""
        self._handlers[fd] = handler
        self._poll.register(fd, mask)

    def forget(self, fd: int) -> None:
        """Watch no more; no error if it was not watched."""
        if self._handlers.pop(fd, None):
            self._poll.unregister(fd)

    def later(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Call ``action`` once after a while."""
        timer = Timer(time.monotonic() + seconds, action)
        self._timers.append(timer)
        return timer

    def tidy(self) -> None:
        """After a burst of work: give memory back once it is likely over, by one late call."""
        if Loop.give_back and not self._untidy:
            self._untidy = True
            self.later(TIDY_S, self._tidy)

    def _tidy(self) -> None:
        self._untidy = False
        if Loop.give_back:
            Loop.give_back()

    def stop(self) -> None:
        """Leave ``run`` after the current turn."""
        self._stopped = True

    def run(self) -> None:
        """Sleep, handle, again."""
        while not self._stopped:
            for fd, events in self._poll.poll(self._timeout_ms()):
                handler = self._handlers.get(fd)
                if handler:
                    self._guarded(handler, fd, events)
            self._run_timers()

    def _guarded(self, handler: Handler, fd: int, events: int) -> None:
        try:
            handler(events)
        except Exception:  # noqa: BLE001 - one client's trouble must not end the container's log
            self._report(describe_exception())
            if fd != self._wake_fd:
                self.forget(fd)

    def _timeout_ms(self) -> float | None:
        self._timers = [timer for timer in self._timers if timer.action]
        if not self._timers:
            return None
        soonest = min(timer.due for timer in self._timers)
        # Rounded up, or poll would come back just before the time and spin.
        left_ms = (soonest - time.monotonic()) * 1000 + 0.5
        return min(max(0.0, left_ms), LONGEST_MS)

    def _run_timers(self) -> None:
        if not self._timers:
            return
        now = time.monotonic()
        due = [timer for timer in self._timers if timer.due <= now]
        self._timers = [timer for timer in self._timers if timer.due > now and timer.action]
        for timer in due:
            action, timer.action = timer.action, None
            if action:
                self._guarded(lambda _, action=action: action(), self._wake_fd, 0)  # type: ignore[misc]

    # Children. As a subreaper we are the parent of every orphan of the container's, too.

    def expect(self) -> None:
        """Keep strays that end: one of them may prove to be what a runtime is just starting."""
        self._starts += 1

    def adopt(self, pid: int, handler: ChildHandler) -> None:
        """Call ``handler`` with wait status and name when ``pid`` has ended; it may have already.

        Ends what ``expect`` began.
        """
        self.on_exit(pid, handler)
        ended = self._strays.get(pid)
        self.expected()
        if ended:
            self._children.pop(pid)
            handler(*ended)

    def expected(self) -> None:
        """A start is over, whatever came of it."""
        self._starts -= 1
        if not self._starts:
            self._strays.clear()

    def on_exit(self, pid: int, handler: ChildHandler) -> None:
        """Call ``handler`` when our own child has ended."""
        self._children[pid] = handler

    def knows(self, pid: int) -> bool:
        """Whether somebody waits for this child."""
        return pid in self._children

    def _on_child(self, _: int) -> None:
        os.read(self._wake_fd, 4096)
        self.reap()

    def reap(self) -> None:
        """Collect every child that has ended."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            name = process_name(ended.si_pid)  # gone with the zombie
            pid, status = os.waitpid(ended.si_pid, 0)
            handler = self._children.pop(pid, None)
            if handler:
                handler(status, name)
            elif self._starts:
                self._strays[pid] = (status, name)


def process_name(pid: int) -> str:
    """The process's name, also of a zombie; empty if it is gone."""
    return stat_fields(pid)[0]


def stat_fields(pid: int) -> tuple[str, list[bytes]]:
    """Name, then the fields from the third on (proc_pid_stat(5)); empty if it is gone."""
    try:
        text = fsatomic.read_optional(f"/proc/{pid}/stat")
    except ProcessLookupError:
        text = None
    if not text:
        return "", []
    head, _, tail = text.rpartition(b")")
    return head.partition(b"(")[2].decode(errors="replace"), tail.split()


def set_nonblocking(fd: int) -> None:
    """O_NONBLOCK for the open file, so only for descriptors whose other users are ourselves."""
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)


def describe_exception() -> str:
    """The current exception with the lines it came through; traceback would load too much."""
    kind, error, trace = sys.exc_info()
    lines = []
    while trace:
        code = trace.tb_frame.f_code
        lines.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return f"{kind.__name__ if kind else ''}: {error} at " + ", ".join(lines)
