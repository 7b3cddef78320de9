"""Processes and runtime state that belong to no container."""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from runengine.errors import TimedOut
from runengine.linux import pidfd
from runengine.mgr.check.world import Difference, names_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.check.world import World

END_TIMEOUT_S = 5.0


def monitors(world: World) -> Iterator[Difference]:
    """Monitors of containers that there is no record of; told by the lock that each holds."""
    for pid, container_id in sorted(holders_of_locks(world.paths.state).items()):
        start_time = pidfd.start_time(pid)
        if container_id in world.ids or start_time is None:
            continue
        yield Difference(
            "process",
            str(pid),
            f"it watches container {container_id[:12]}, of which there is no record",
            "end the container's processes and the monitor",
            partial(_end, pid, start_time),
        )


def holders_of_locks(state: str) -> dict[int, str]:
    """Containers' ids by the pids of the processes that have their ``monitor.lock`` open."""
    pattern = re.compile(re.escape(f"{state}/containers/") + r"([0-9a-f]{64})/monitor\.lock\b.*")
    found = {}
    for pid in os.listdir("/proc"):
        if not pid.isdigit():
            continue
        with suppress(OSError):  # ended meanwhile
            for fd in os.listdir(f"/proc/{pid}/fd"):
                match = pattern.fullmatch(_target(f"/proc/{pid}/fd/{fd}"))
                if match:
                    found[int(pid)] = match[1]
    return found


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _end(pid: int, start_time: int) -> None:
    """Kill what the monitor has started; it then ends by itself, or is killed too."""
    fd = pidfd.open_verified(pid, start_time)
    if fd is None:
        return
    try:
        for child, started in _children(pid):
            _kill(child, started)
        if not pidfd.wait(fd, END_TIMEOUT_S):
            pidfd.send(fd, signal.SIGKILL)
            if not pidfd.wait(fd, END_TIMEOUT_S):
                raise TimedOut(f"process {pid} does not end")
    finally:
        os.close(fd)


def _children(pid: int) -> list[tuple[int, int]]:
    """Pids and start times."""
    found = []
    with suppress(OSError), open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        for word in file.read().split():
            start_time = pidfd.start_time(int(word))
            if start_time is not None:
                found.append((int(word), start_time))
    return found


def _kill(pid: int, start_time: int) -> None:
    fd = pidfd.open_verified(pid, start_time)
    if fd is None:
        return
    try:
        pidfd.send(fd, signal.SIGKILL)
        pidfd.wait(fd, END_TIMEOUT_S)
    finally:
        os.close(fd)


def runtime_state(world: World) -> Iterator[Difference]:
    """What the runtime knows of containers that there is no record of."""
    for name in names_in(world.paths.runtime_root):
        if name not in world.ids:
            yield Difference(
                "runtime",
                name[:12],
                "the runtime knows a container of which there is no record",
                "have the runtime delete it, with its processes",
                partial(_delete, world, name),
            )


def _delete(world: World, container_id: str) -> None:
    from runengine.mgr.container.runtime import runtime_argv
    from runengine.runtime import runc

    context = world.context
    with context.reserved(container_id, timeout_s=END_TIMEOUT_S):
        if context.find(container_id) is None:
            argv = runtime_argv(context, context.config.default_runtime)
            runc.Runtime(argv).delete(container_id, force=True)
    with suppress(OSError):
        os.unlink(f"{context.state_dir(container_id)}/lock")
        os.rmdir(context.state_dir(container_id))


CHECKS = (monitors, runtime_state)
