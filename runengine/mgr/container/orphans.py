"""Runtimes that a killed monitor had at work: they would go on, and finish what was torn down.

A monitor takes its socket's name away before it ends. Only where it is left, as by one that was
killed, all processes of the host are looked through.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from runengine.linux import pidfd
from runengine.linux.fsatomic import read_optional

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context

END_TIMEOUT_S = 5.0


def end(context: Context, container_id: str) -> None:
    """Kill the runtimes of a container that has no monitor any more. The caller holds its lock."""
    words = {context.paths.runtime_root.encode(), container_id.encode()}
    for name in os.listdir("/proc"):
        if name.isdigit() and _is_given(name, words):
            _kill(int(name), words)


def _is_given(pid: int | str, words: set[bytes]) -> bool:
    """Whether all of the words are arguments of a process."""
    try:
        command = read_optional(f"/proc/{pid}/cmdline") or b""
    except OSError:
        return False  # it has just ended
    return words <= set(command.split(b"\0"))


def _kill(pid: int, words: set[bytes]) -> None:
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if _is_given(pid, words):  # else it has ended, and the pid is another's
            pidfd.send(fd, signal.SIGKILL)
            pidfd.wait(fd, END_TIMEOUT_S)
    finally:
        os.close(fd)
