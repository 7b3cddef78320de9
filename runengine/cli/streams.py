"""The relay between the user's standard streams and a container's, through its monitor.

One poll loop, no threads: input goes out only as fast as the container takes it, output comes in
only as fast as the user's side takes it, and neither keeps a signal from being passed on.
"""

from __future__ import annotations

import gc
import os
import select
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.cli import terminal
from runengine.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.monitor.client import Connection

READ_SIZE = 64 << 10
FORCED_EXIT_AFTER = 3
"""As with Docker's client: the third interrupt ends it, whatever the container does with them."""
_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR | select.POLLNVAL


class Outcome(NamedTuple):
    """How a session ended for this client: ``exit`` is the monitor's exit record, if it came."""

    detached: bool
    exit: dict[str, Any] | None


class ForcedExit(SystemExit):
    """The user interrupted too often; the container goes on."""


class Sink:
    """Writes to one of our own output descriptors without ever waiting in the write.

    A pipe or terminal is opened anew, because O_NONBLOCK belongs to the open file, which others
    (a shell, the other end's owner) share with us.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._owned = _reopen(fd)
        self._backlog = b""
        self.broken = False

    def fileno(self) -> int:
        """For poll."""
        return self._fd if self._owned is None else self._owned

    @property
    def blocked(self) -> bool:
        """Whether data waits for our reader."""
        return bool(self._backlog)

    def write(self, data: bytes) -> None:
        """Write, or keep for ``flush`` what does not fit now. Raises EngineError (disk full)."""
        if self.broken:
            return
        self._backlog += data
        self.flush()

    def flush(self) -> None:
        """Write what waits, as far as it fits."""
        try:
            while self._backlog:
                written = os.write(self.fileno(), self._backlog)
                self._backlog = self._backlog[written:]
                if self._owned is None:
                    return  # this descriptor may wait in the next write: poll first
        except BlockingIOError:
            return
        except OSError as error:
            self._backlog = b""
            self.broken = True
            if not isinstance(error, BrokenPipeError) and error.errno not in _GONE:
                raise EngineError(f"cannot write the output: {error.strerror}") from None

    def close(self) -> None:
        """Let go of our own copy."""
        if self._owned is not None:
            os.close(self._owned)
            self._owned = None


_GONE = frozenset({5, 9, 104})
"""EIO (hung-up terminal), EBADF (closed before we began), ECONNRESET."""


def _reopen(fd: int) -> int | None:
    try:
        mode = os.fstat(fd).st_mode
        path = f"/proc/self/fd/{fd}"
        # Opening a pty's master again would make another pty.
        is_tty = stat.S_ISCHR(mode) and os.isatty(fd) and "ptmx" not in os.readlink(path)  # noqa: PTH115
        if stat.S_ISFIFO(mode) or is_tty:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        pass
    return None


class Relay:
    """Carries one session's streams until it ends, the user detaches or nobody listens."""

    def __init__(
        self,
        connection: Connection,
        *,
        stdin: bool,
        tty: bool,
        detach_keys: bytes = b"",
        send_signal: Callable[[int], None] | None = None,
        input_only: bool = False,
        fds: tuple[int, int, int] = (terminal.STDIN, terminal.STDOUT, terminal.STDERR),
    ) -> None:
        from runengine.monitor.detach import DetachKeys

        self._connection = connection
        self._stdin: int | None = fds[0] if stdin else None
        self._stderr_fd = fds[2]
        self._tty = tty
        # Without a terminal every byte is data: an archive may hold the sequence.
        self._keys = DetachKeys(detach_keys if tty else b"")
        self._send_signal = send_signal
        self._input_only = input_only
        self._sinks = {1: Sink(fds[1]), 2: Sink(fds[2])}
        self._interrupts = 0
        self._detached = False
        self._size: tuple[int, int] | None = None

    def run(self, console_size: tuple[int, int] | None = None) -> Outcome:
        """Relay until the session ends. ``console_size`` is what the session already has.

        Raises BrokenPipeError if our reader left, KeyboardInterrupt for ^C where signals are not
        passed on, EngineError if output cannot be written.
        """
        gc.enable()  # a session may last for weeks
        self._size = console_size
        raw = terminal.Raw(self._stdin if self._tty else None)
        try:
            with raw, terminal.Signals(proxy=self._send_signal is not None) as signals:
                self._resize()
                # What came along with the answer to the request is read already: no poll tells.
                alive = self._on_output()
                while alive and self._connection.exit is None:
                    alive = self._turn(signals)
                self._drain(signals)
        finally:
            for sink in self._sinks.values():
                sink.close()
        return Outcome(self._detached, self._connection.exit)

    def _turn(self, signals: terminal.Signals) -> bool:
        """One poll and what it brings; False at the end of the conversation."""
        ready = self._poll(signals)
        if signals.fileno() in ready:
            self._on_signals(signals.take())
        for sink in self._sinks.values():
            if sink.fileno() in ready:
                sink.flush()
        if self._stdin is not None and self._stdin in ready:
            self._on_input(self._stdin)
        if self._detached or self._is_all_sent():
            return False
        events = ready.get(self._connection.fileno(), 0)
        if events & select.POLLOUT:
            self._connection.flush()
        alive = self._on_output() if events & _READABLE else True
        if self._sinks[1].broken:
            raise BrokenPipeError("our reader has left")
        return alive

    def _poll(self, signals: terminal.Signals) -> dict[int, int]:
        poll = select.poll()
        poll.register(signals.fileno(), select.POLLIN)
        blocked = [sink for sink in self._sinks.values() if sink.blocked]
        for sink in blocked:
            poll.register(sink.fileno(), select.POLLOUT)
        waits_to_send = self._connection.wants_write
        events = (0 if blocked else select.POLLIN) | (select.POLLOUT if waits_to_send else 0)
        if events:
            poll.register(self._connection.fileno(), events)
        if self._stdin is not None and not waits_to_send:
            poll.register(self._stdin, select.POLLIN)
        return dict(poll.poll())

    def _on_signals(self, numbers: list[int]) -> None:
        import signal

        for number in numbers:
            if number == signal.SIGWINCH:
                self._resize()
            elif self._send_signal is not None:
                self._send_signal(number)
                self._interrupts += number in (signal.SIGINT, signal.SIGTERM)
        if self._interrupts >= FORCED_EXIT_AFTER:
            with suppress(OSError):
                os.write(self._stderr_fd, b"\ngot 3 SIGTERM/SIGINTs, forcefully exiting\n")
            raise ForcedExit(1)

    def _resize(self) -> None:
        size = terminal.size() if self._tty else None
        if size is not None and size != self._size:
            self._size = size
            self._connection.resize(*size)

    def _on_input(self, fd: int) -> None:
        try:
            data = os.read(fd, READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # the terminal hung up, or the descriptor never was open
        if not data:
            self._connection.send_stdin(self._keys.flush())
            self._connection.close_stdin()
            self._stdin = None
            return
        data, left = self._keys.feed(data)
        self._connection.send_stdin(data)
        if left:
            self._detached = True
            self._connection.detach()

    def _is_all_sent(self) -> bool:
        """Whether a session that only feeds the container has done its part."""
        return self._input_only and self._stdin is None and not self._connection.wants_write

    def _on_output(self) -> bool:
        frames = self._connection.read_frames()
        if frames is None:
            return False
        for frame in frames:
            sink = self._sinks.get(frame.stream)
            if sink is not None:
                sink.write(frame.data)
        return True

    def _drain(self, signals: terminal.Signals) -> None:
        """The session is over; what it wrote still has to reach our reader."""
        while any(sink.blocked for sink in self._sinks.values()):
            poll = select.poll()
            poll.register(signals.fileno(), select.POLLIN)
            for sink in self._sinks.values():
                if sink.blocked:
                    poll.register(sink.fileno(), select.POLLOUT)
            ready = dict(poll.poll())
            if signals.fileno() in ready and _asks_to_go(signals.take()):
                return
            for sink in self._sinks.values():
                if sink.fileno() in ready:
                    sink.flush()


def _asks_to_go(numbers: list[int]) -> bool:
    import signal

    return not {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}.isdisjoint(numbers)
