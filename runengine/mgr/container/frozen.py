"""Holding a container still for a moment, whatever happens to the one who does."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runengine.errors import EngineError
from runengine.mgr.container.observe import is_frozen
from runengine.mgr.container.runtime import runtime_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.container.context import Context
    from runengine.runtime.runc import Runtime
    from runengine.store.containers import Record

THAW_ATTEMPTS = 3


@contextmanager
def frozen(context: Context, record: Record) -> Iterator[None]:
    """Freeze a running container, whose lock the caller holds, until the block ends.

    A process of its own waits for that and thaws, so that a killed command leaves no container
    frozen; it has the lock as well, so that nobody meets one. Raises RuntimeFailed.
    """
    runtime = runtime_of(context, record)
    guardian = _fork_guardian(runtime, record) if threading.active_count() == 1 else None
    try:
        runtime.pause(record.id)
        yield
    finally:
        if guardian is not None:
            pid, holder = guardian
            os.close(holder)
            os.waitpid(pid, 0)
        if is_frozen(record.details.get("cgroup", {})):
            runtime.resume(record.id)


def _fork_guardian(runtime: Runtime, record: Record) -> tuple[int, int]:
    """A child that thaws the container when the pipe's end that is returned is closed."""
    waiting, holder = os.pipe()
    pid = os.fork()
    if pid:
        os.close(waiting)
        return pid, holder
    try:
        os.close(holder)
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.read(waiting, 1)
        _thaw(runtime, record)
    finally:
        os._exit(0)


def _thaw(runtime: Runtime, record: Record) -> None:
    for _ in range(THAW_ATTEMPTS):
        if not is_frozen(record.details.get("cgroup", {})):
            return
        try:
            runtime.resume(record.id)
        except EngineError:
            continue
