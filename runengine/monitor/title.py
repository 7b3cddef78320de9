"""The command line that ps shows of a process, where it was forked from one with another purpose.

It stands at the foot of the stack, where nobody needs it any more once the interpreter has begun,
and the kernel reads it from there (proc_pid_cmdline(5)). It is written by the kernel as well: what
cannot be written is an error there, and not a crash here.
"""

from __future__ import annotations

import os

from runengine.monitor.loop import stat_fields

_START, _END = 45, 46
"""arg_start and arg_end among the fields from the third on (proc_pid_stat(5))."""


class Title:
    """Of this process and what is forked from it."""

    def __init__(self) -> None:
        fields = stat_fields(os.getpid())[1]
        self._address = int(fields[_START])
        self._size = int(fields[_END]) - self._address

    def show(self, text: str) -> None:
        """Show ``text``, as much of it as there is room for; where that cannot be, nothing."""
        if self._size <= 0:
            return
        # The last byte stays zero: by that the kernel knows where the command line ends.
        data = text.encode(errors="surrogateescape")[: self._size - 1].ljust(self._size, b"\0")
        try:
            fd = os.open("/proc/self/mem", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            os.pwrite(fd, data, self._address)
        except OSError:
            return
        finally:
            os.close(fd)
