"""The streams of one process: the container's init, or an exec session's."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
import termios

from runengine.monitor import wire
from runengine.monitor.loop import READ, WRITE, set_nonblocking
from runengine.monitor.peer import PRIMARY_HIGH, PRIMARY_LOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from runengine.monitor.loop import Loop, Timer
    from runengine.monitor.peer import Peer

    class Log(Protocol):
        """What a session needs of monitor/logs.py or relay.py."""

        full: bool
        room_fd: int | None

        def write(self, stream: str, data: bytes) -> None:
            """Log a chunk."""

        def close(self) -> None:
            """Flush and close."""


READ_SIZE = 64 << 10
BURST_SIZE = 8 << 10
"""So much at once, and there may be more: afterwards memory is tidied up."""
STDIN_HIGH = 64 << 10
"""Input that the process has not read at which its clients are read no further."""
TIOCGPTPEER = 0x5441
"""Opens the other side of a master, wherever that is mounted (ioctl_tty(2), Linux 4.13)."""
LAST_WORDS_LIMIT = 8 << 20
"""Output kept for a client that does not read, once the process has ended."""
_NAMES = {wire.STDOUT: "stdout", wire.STDERR: "stderr"}


class Streams:
    """Our ends of a process's standard streams; a terminal's master is both input and output."""

    __slots__ = ("outputs", "stdin", "terminal")

    def __init__(self, stdin: int | None, outputs: dict[int, int], *, terminal: bool) -> None:
        self.stdin = stdin
        self.outputs = outputs
        self.terminal = terminal

    def close(self) -> None:
        """Close what is still open."""
        for fd in {*self.outputs, *([] if self.stdin is None else [self.stdin])}:
            os.close(fd)
        self.outputs = {}
        self.stdin = None


class Session:
    """Carries output to the log and to clients, and clients' input to the process."""

    __slots__ = (
        "_drain_timer",
        "_drained",
        "_eof_wanted",
        "_held",
        "_input",
        "_log",
        "_loop",
        "_paused",
        "_streams",
        "close_on_eof",
        "peers",
    )

    def __init__(
        self, loop: Loop, streams: Streams, *, log: Log | None, close_on_eof: bool
    ) -> None:
        self._loop = loop
        self._streams = streams
        self._log = log
        self.close_on_eof = close_on_eof
        self.peers: list[Peer] = []
        self._input = b""
        self._eof_wanted = False
        self._paused = False
        self._held: int | None = None
        self._drained: Callable[[], None] | None = None
        self._drain_timer: Timer | None = None

    @property
    def terminal(self) -> bool:
        """Whether the process has a terminal."""
        return self._streams.terminal

    def begin(self) -> None:
        """Start to read output."""
        if self._streams.stdin is not None:
            set_nonblocking(self._streams.stdin)
        for fd in self._streams.outputs:
            set_nonblocking(fd)
        if self._log and self._log.room_fd is not None:
            self._loop.watch(self._log.room_fd, READ, lambda _: self._on_room())
        self._watch()

    def _on_room(self) -> None:
        """The log takes more again."""
        if self._log and self._log.room_fd is not None:
            os.eventfd_read(self._log.room_fd)
            self.slow_down_or_resume()

    def _watch(self) -> None:
        stdin = self._streams.stdin
        for fd in self._streams.outputs:
            mask = (0 if self._paused else READ) | (WRITE if fd == stdin and self._input else 0)
            if mask:
                self._loop.watch(fd, mask, lambda events, fd=fd: self._on_output(fd, events))  # type: ignore[misc]
            else:
                # Unwatched, as poll would report a hang-up for ever.
                self._loop.forget(fd)

    # Output

    def _on_output(self, fd: int, events: int) -> None:
        if events & WRITE:
            self._write_input()
        if events & ~WRITE and fd in self._streams.outputs:
            self._read_output(fd)

    def _read_output(self, fd: int) -> None:
        try:
            data = os.read(fd, READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:  # a terminal that nobody has open any more
                raise
            if self._hold(fd):
                return
            data = b""
        if data:
            self._deliver(self._streams.outputs[fd], data)
            if len(data) >= BURST_SIZE:
                self._loop.tidy()
        else:
            self._close_output(fd)

    def _hold(self, fd: int) -> bool:
        """Keep a terminal alive that the process has closed: it may open it again.

        systemd keeps none of its streams, and opens the console for every message.
        """
        if self._drained or self._held is not None:
            return False
        try:
            self._held = fcntl.ioctl(fd, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            return False
        return True

    def _let_go(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _deliver(self, stream: int, data: bytes) -> None:
        if self._log:
            self._log.write(_NAMES[stream], data)
        for peer in tuple(self.peers):
            peer.output(stream, data)
        self.slow_down_or_resume()

    def slow_down_or_resume(self) -> None:
        """Let the client that began the session set its pace, as a pipe's reader does, and a log
        that is slow.

        After the process's end nothing waits for a client: what is left is kept, within limits.
        """
        waiting = max((peer.backlog_bytes for peer in self.peers if peer.primary), default=0)
        if self._drained:
            if waiting > LAST_WORDS_LIMIT:
                self._drain_over()
            return
        waits = waiting > (PRIMARY_LOW if self._paused else PRIMARY_HIGH)
        waits |= self._log is not None and self._log.full
        if self._paused != waits:
            self._paused = waits
            self._watch()

    def _close_output(self, fd: int) -> None:
        self._loop.forget(fd)
        del self._streams.outputs[fd]
        if fd == self._streams.stdin:
            self._streams.stdin = None
        os.close(fd)
        if self._drained and not self._streams.outputs:
            self._drain_over()

    def drain(self, timeout_s: float, drained: Callable[[], None]) -> None:
        """The process has ended: read what is left, then call ``drained``.

        Somebody else may hold the streams open, so not for longer than ``timeout_s``.
        """
        self._drained = drained
        self._paused = False
        self._let_go()
        if self._streams.outputs:
            self._drain_timer = self._loop.later(timeout_s, self._drain_over)
            self._watch()
        else:
            self._drain_over()

    def _drain_over(self) -> None:
        drained, self._drained = self._drained, None
        if self._drain_timer:
            self._drain_timer.cancel()
        self.close()
        if drained:
            drained()

    def last_words(self) -> bytes:
        """What waits in the standard error (or terminal) of a process that could not begin."""
        text = b""
        for fd, stream in self._streams.outputs.items():
            set_nonblocking(fd)
            if stream == wire.STDERR or self.terminal:
                try:
                    text += os.read(fd, 4096)
                except OSError:
                    continue
        return text

    def close(self) -> None:
        """Close the streams; clients stay, to be told of the exit."""
        self._let_go()
        if self._log and self._log.room_fd is not None:
            self._loop.forget(self._log.room_fd)
        for fd in self._streams.outputs:
            self._loop.forget(fd)
        if self._streams.stdin is not None:
            self._loop.forget(self._streams.stdin)
        self._streams.close()

    # Clients

    def join(self, peer: Peer, request: dict[str, Any], *, primary: bool) -> None:
        """Let a client have the streams it asks for."""
        chosen = ((wire.STDOUT, "stdout"), (wire.STDERR, "stderr"))
        peer.session = self
        peer.primary = primary
        peer.wants = tuple(stream for stream, name in chosen if request.get(name))
        if self.terminal and peer.wants:
            peer.wants = (wire.STDOUT,)
        peer.writes_stdin = bool(request.get("stdin"))
        self.peers.append(peer)

    def leave(self, peer: Peer) -> None:
        """A client has gone; for its input that is the end, unless it detached."""
        peer.session = None
        self.peers.remove(peer)
        if peer.writes_stdin:
            self._half_close()
        self.slow_down_or_resume()

    def finish(self, message: dict[str, Any], *, keep: Peer | None = None) -> None:
        """Tell every client how it ended and say good-bye; ``keep`` stays connected."""
        for peer in tuple(self.peers):
            peer.event(message)
            if peer is not keep:
                peer.end()

    # Input

    def feed(self, data: bytes) -> None:
        """Input from a client; nothing is the end of its input."""
        if self._streams.stdin is None:
            return
        if not data:
            self._half_close()
            return
        self._input += data
        self._write_input()

    def _half_close(self) -> None:
        # A terminal has no end of input but the character that its line discipline knows.
        if self.close_on_eof and not self.terminal:
            self._eof_wanted = True
            self._write_input()

    def _write_input(self) -> None:
        fd = self._streams.stdin
        if fd is None:
            return
        try:
            while self._input:
                self._input = self._input[os.write(fd, self._input) :]
        except BlockingIOError:
            pass
        except OSError:
            self._eof_wanted = True  # nobody reads it any more
            self._input = b""
        self._after_write(fd)

    def _after_write(self, fd: int) -> None:
        if self._eof_wanted and not self._input and not self.terminal:
            self._loop.forget(fd)
            os.close(fd)
            self._streams.stdin = None
        elif self.terminal:
            self._watch()
        elif self._input:
            self._loop.watch(fd, WRITE, lambda _: self._write_input())
        else:
            self._loop.forget(fd)
        full = len(self._input) > STDIN_HIGH
        for peer in tuple(self.peers):
            if peer.writes_stdin:
                peer.pause_input(paused=full)

    def resize(self, rows: int, columns: int) -> bool:
        """Set the terminal's size; False if there is none."""
        if not self.terminal or self._streams.stdin is None:
            return False
        set_size(self._streams.stdin, rows, columns)
        return True


def set_size(fd: int, rows: int, columns: int) -> None:
    """TIOCSWINSZ (ioctl_tty(2)); sizes beyond 16 bits are cut to that."""
    words = [min(max(number, 0), 0xFFFF).to_bytes(2, sys.byteorder) for number in (rows, columns)]
    fcntl.ioctl(fd, termios.TIOCSWINSZ, b"".join([*words, bytes(4)]))
