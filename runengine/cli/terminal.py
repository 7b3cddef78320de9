"""The user's terminal: its size, raw mode, and signals turned into something to poll.

Sources: termios(3), tty_ioctl(4), signal(7).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Iterable
    from types import FrameType, TracebackType
    from typing import Self
else:
    # What is around it makes an enumeration, and a member of it of each number.
    import _signal

STDIN, STDOUT, STDERR = 0, 1, 2


def is_terminal(fd: int) -> bool:
    """Whether ``fd`` is a terminal; False if it is closed."""
    return os.isatty(fd)


def check_tty(*, attach_stdin: bool, tty: bool) -> None:
    """Raise InvalidParameter if a session with a terminal would read from something else."""
    if attach_stdin and tty and not is_terminal(STDIN):
        raise InvalidParameter(
            "the input device is not a TTY",
            resolution="leave out -t, or run it from a terminal",
        )


def size() -> tuple[int, int] | None:
    """Rows and columns of the user's terminal, or None if there is none."""
    for fd in (STDOUT, STDIN, STDERR):
        try:
            columns, rows = os.get_terminal_size(fd)
        except OSError:
            continue
        if rows and columns:
            return rows, columns
    return None


class Raw:
    """Puts a terminal into raw mode, and back whatever happens; does nothing for other files."""

    def __init__(self, fd: int | None) -> None:
        self._fd = -1 if fd is None else fd
        self._saved: list[Any] | None = None

    def __enter__(self) -> Self:
        if is_terminal(self._fd):
            import atexit
            import termios

            self._saved = termios.tcgetattr(self._fd)
            atexit.register(self.restore)
            # At once and without a flush, so that what was typed ahead is kept.
            termios.tcsetattr(self._fd, termios.TCSANOW, _raw(termios.tcgetattr(self._fd)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.restore()

    def restore(self) -> None:
        """Back to how it was; safe to call again, and when the terminal has gone."""
        saved, self._saved = self._saved, None
        if saved is None:
            return
        import atexit
        import termios

        atexit.unregister(self.restore)
        # From the background this would stop us, with the terminal still raw.
        blocked = _signal.pthread_sigmask(_signal.SIG_BLOCK, {_signal.SIGTTOU})
        try:
            termios.tcsetattr(self._fd, termios.TCSANOW, saved)
        except termios.error:
            return
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, blocked)


def _raw(attributes: list[Any]) -> list[Any]:
    """The settings of cfmakeraw (termios(3)), and reads of at least one byte."""
    import termios as t

    attributes[0] &= ~(
        t.IGNBRK | t.BRKINT | t.PARMRK | t.ISTRIP | t.INLCR | t.IGNCR | t.ICRNL | t.IXON
    )
    attributes[1] &= ~t.OPOST
    attributes[2] = attributes[2] & ~(t.CSIZE | t.PARENB) | t.CS8
    attributes[3] &= ~(t.ECHO | t.ECHONL | t.ICANON | t.ISIG | t.IEXTEN)
    attributes[6][t.VMIN] = 1
    attributes[6][t.VTIME] = 0
    return attributes


# Not passed on to a container: what the kernel says about ourselves (a child, a closed pipe, our
# own faults), job control of our own process group, and the window's size, which goes another way
# (some servers take SIGWINCH as the order to end).
_OURS = frozenset(
    {
        _signal.SIGCHLD,
        _signal.SIGPIPE,
        _signal.SIGURG,
        _signal.SIGWINCH,
        _signal.SIGTTIN,
        _signal.SIGTTOU,
        _signal.SIGSEGV,
        _signal.SIGBUS,
        _signal.SIGFPE,
        _signal.SIGILL,
        _signal.SIGABRT,
        _signal.SIGTRAP,
        _signal.SIGSYS,
        _signal.SIGKILL,
        _signal.SIGSTOP,
    }
)
# What ends a program by default and asks it to go: must not leave the terminal raw.
_ENDING = frozenset({_signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT})


def proxied() -> frozenset[int]:
    """Signals that go on to the container."""
    return frozenset(_signal.valid_signals()) - _OURS


class Signals:
    """Catches signals and makes them readable from ``fileno()``.

    SIGWINCH is always caught; with ``proxy`` so are all that go on to the container. Without,
    what ends a program unwinds it, so that the terminal is put back.
    """

    def __init__(self, *, proxy: bool) -> None:
        self._caught = {_signal.SIGWINCH} | (proxied() if proxy else frozenset())
        self._before: dict[int, Any] = {}
        self._read_fd = self._write_fd = -1
        self._wakeup_before = -1

    def __enter__(self) -> Self:
        self._read_fd, self._write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wakeup_before = _signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        self._install(self._caught, _noted)
        self._install(_ENDING - self._caught, _unwind)
        return self

    def _install(self, numbers: Iterable[int], handler: Any) -> None:
        for number in numbers:
            # A signal that the caller ignores (nohup) stays ignored.
            if _signal.getsignal(number) != _signal.SIG_IGN:
                self._before[number] = _signal.signal(number, handler)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            _signal.signal(number, handler)
        _signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._read_fd)
        os.close(self._write_fd)

    def fileno(self) -> int:
        """For poll: readable when signals came."""
        return self._read_fd

    def take(self) -> list[int]:
        """The signals since the last call, in order."""
        try:
            return [number for number in os.read(self._read_fd, 4096) if number in self._caught]
        except BlockingIOError:
            return []


def _noted(_number: int, _frame: FrameType | None) -> None:
    """The wake-up descriptor has it."""


def _unwind(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
