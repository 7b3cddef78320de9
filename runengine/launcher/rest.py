"""What a worker is between two calls: what it was before the first, or it serves no other.

A call may leave nothing to the next one: no descriptor, thread, child, limit, handler, text in a
stream or other world. What can be put back is put back; where that fails the process ends, and a
fresh one takes its place.
"""

from __future__ import annotations

import gc
import io
import os
import sys
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from runengine.cgroups import layout
from runengine.launcher import caller
from runengine.linux import inheritance, kernel

if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
else:
    # What is around it makes an enumeration's member of each number, which takes longer.
    import _signal

WAITING = "runengine-wait"
"""The process's name meanwhile, for those who look at ``ps``."""
MOST_GROWTH = (24 << 20) // os.sysconf("SC_PAGE_SIZE")
"""Pages: what a call needs besides is given back by the process's end. A pull imports 12 MiB."""


class Rest:
    """The state of this process that calls are to find; made in a child that has served none."""

    def __init__(self, world: caller.World, *descriptors: int) -> None:
        """``descriptors`` are its own, beside the standard streams."""
        import prctl

        self._world = world
        self._descriptors = {0, 1, 2, *descriptors}
        self._handlers = [(each, _signal.getsignal(each)) for each in _signal.valid_signals()]
        self._cgroups = _cgroups()
        self._pages = _anonymous_pages()
        self._name = prctl.get_name()
        self._held: object = None

    def begin(self, hold: Callable[[], object]) -> None:
        """Be known as one that waits, and keep open what ``hold`` opens."""
        import prctl

        prctl.set_name(WAITING)
        if self._held is None:
            self._held = hold()
            self._descriptors = _descriptors()

    def end(self) -> None:
        """A call has come, or soon will."""
        import prctl

        prctl.set_name(self._name)

    def restore(self, hold: Callable[[], object]) -> bool:
        """Be again what this process was before it served a call; False if it cannot be.

        Every signal is blocked: what came when the call was over was not meant for the next one.
        """
        if not self._is_alone() or _descriptors() != self._descriptors:
            return False
        try:
            self._put_back()
            if caller.world_of("self", caller.Status("self")) != self._world:
                return False
            self.begin(hold)
        except (OSError, ValueError):
            return False
        return _anonymous_pages() - self._pages < MOST_GROWTH

    def _is_alone(self) -> bool:
        """No thread, child or terminal is left.

        Last wishes (``atexit``) are: libraries have them, of which the process's end is soon
        enough. Our own for the terminal is taken back by its call.
        """
        if len(os.listdir("/proc/self/task")) > 1:
            return False
        with suppress(ChildProcessError):
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return False
        with suppress(OSError):
            os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
            return False
        return _cgroups() == self._cgroups

    def _put_back(self) -> None:
        """Raises OSError or ValueError if a limit or the like cannot be had again."""
        gc.disable()
        while _signal.sigtimedwait(_signal.valid_signals(), 0) is not None:
            pass
        _signal.set_wakeup_fd(-1)
        for number, handler in self._handlers:
            if _signal.getsignal(number) != handler:
                _signal.signal(number, handler)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        os.chdir("/")
        inheritance.adopt(os.getppid(), inheritance.read_status(os.getppid()))
        _renew_streams()
        # What a process finds out for itself, as its caller's child would.
        os.environ.clear()
        tempfile.tempdir = None
        kernel.forget()
        layout.forget()


def _renew_streams() -> None:
    """Forget what was read ahead, or could not be written; /dev/null is behind them now."""
    sys.stdout.flush()
    sys.stderr.flush()
    old = sys.stdin
    raw = io.FileIO(0, "r", closefd=False)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(raw), old.encoding, old.errors)


def _descriptors() -> set[int]:
    """Those that are open, without the listing's own."""
    found = set()
    for fd in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):
            os.fstat(fd)
            found.add(fd)
    return found


def _cgroups() -> bytes:
    with open("/proc/self/cgroup", "rb", 0) as file:
        return file.read()


def _anonymous_pages() -> int:
    """Resident pages that are no file's (proc_pid_statm(5))."""
    with open("/proc/self/statm", "rb", 0) as file:
        _, resident, shared, *_ = map(int, file.read().split())
    return resident - shared
