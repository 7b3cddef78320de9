"""Monitors and commands that somebody has stopped (SIGSTOP, ^Z, a debugger) and that hold up other

A monitor that is stopped sees no end and writes none down, a command that is stopped keeps its
locks. ``rm -f`` lets them go on; everybody else is told who it is.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from runengine.errors import TimedOut
from runengine.linux import pidfd
from runengine.mgr.container import observe

if TYPE_CHECKING:
    from runengine.linux.holders import Holder
    from runengine.mgr.container.context import Context

WAKE_TIMEOUT_S = 2.0
MONITOR = "runengine-mon"


def refuse(context: Context, container_id: str) -> None:
    """Raise TimedOut if the container's monitor is stopped, before anything is done to it."""
    pid = observe.stopped_monitor(context, container_id)
    if pid:
        raise _error(pid)


def explain(context: Context, container_id: str) -> TimedOut | None:
    """Why a monitor does not finish, if it is because it is stopped."""
    for holder in _stopped(f"{context.state_dir(container_id)}/monitor.lock"):
        if holder.name == MONITOR:
            return _error(holder.pid)
    return None


def wake_monitor(context: Context, container_id: str) -> None:
    """Let the monitor of a container go on."""
    pid = observe.stopped_monitor(context, container_id)
    if pid:
        _signal(pid, signal.SIGCONT)


def wake_holders(context: Context, container_id: str) -> None:
    """Let every process go on that is stopped and has one of the container's locks open."""
    for name in ("lock", "monitor.lock"):
        for holder in _stopped(f"{context.state_dir(container_id)}/{name}"):
            _signal(holder.pid, signal.SIGCONT)


def end_monitor(context: Context, container_id: str) -> None:
    """Kill the monitor that does not finish, whatever keeps it from that; its exit is lost."""
    from runengine.linux import holders

    for holder in holders.openers(f"{context.state_dir(container_id)}/monitor.lock"):
        if holder.name == MONITOR:
            _signal(holder.pid, signal.SIGKILL)


def refuse_held(context: Context, container_id: str) -> None:
    """Raise TimedOut if the container's lock is held by a process that is stopped."""
    for holder in _stopped(f"{context.state_dir(container_id)}/lock"):
        raise TimedOut(
            f"container {container_id[:12]} is busy with another operation, which is stopped:"
            f" {holder.name} (pid {holder.pid})",
            resolution=f"let it go on: kill -CONT {holder.pid}, or end it",
        )


def _stopped(path: str) -> list[Holder]:
    from runengine.linux import holders

    return [holder for holder in holders.openers(path) if pidfd.is_stopped(holder.pid)]


def _error(pid: int) -> TimedOut:
    from runengine.monitor import client

    return client.stopped(pid)


def _signal(pid: int, number: int) -> None:
    """SIGKILL is waited for: the locks of whoever gets it are free then."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        pidfd.send(fd, number)
        if number == signal.SIGKILL:
            pidfd.wait(fd, WAKE_TIMEOUT_S)
    finally:
        os.close(fd)
