"""Sees the kernel kill for want of memory while the control group is there to say so.

systemd removes a scope's control group as soon as nobody is left in it, which may be before the
monitor has read what was counted there. The kernel tells of each kill beforehand
(cgroup-v2.rst, memory.events); nothing wakes up as long as there is memory.
"""

from __future__ import annotations

import os
import select

from runengine.monitor.cgroup import READ_SIZE, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runengine.monitor.loop import Loop

SCOPE = ".scope"
FILE = "memory.events"


class MemoryWatch:
    """What a scope's memory.events said last; watches nothing in any other control group."""

    def __init__(self, loop: Loop, directories: dict[str, str]) -> None:
        self._loop = loop
        self._fd = -1
        self.oom_kills: int | None = None
        directory = directories.get("unified", "")
        if not directory.endswith(SCOPE):
            return
        try:
            self._fd = os.open(f"{directory}/{FILE}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return  # no memory controller there
        loop.watch(self._fd, select.POLLPRI, self._on_change)
        self.look()

    def _on_change(self, _: int) -> None:
        self.look()

    def look(self) -> None:
        """Read what it says now, which also makes it quiet until it says something else."""
        if self._fd < 0:
            return
        try:
            text = os.pread(self._fd, READ_SIZE, 0)
        except OSError:
            self.close()  # the control group is gone
            return
        kills = field(text, b"oom_kill")
        self.oom_kills = self.oom_kills if kills is None else kills

    def close(self) -> None:
        """Watch no more; what was seen stays."""
        if self._fd >= 0:
            self._loop.forget(self._fd)
            os.close(self._fd)
            self._fd = -1
