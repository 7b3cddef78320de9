"""``restart``: stop and start under one hold of the lock, so nothing comes in between."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runengine.mgr.container import observe, pending
from runengine.mgr.container.recover import settle
from runengine.mgr.container.start import spawn_monitor, start_settled, want_running
from runengine.mgr.container.stop import stop_and_settle

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context


def restart(
    context: Context, name: str, *, timeout_s: int | None = None, signal: str | None = None
) -> None:
    """Stop the container if it runs or is paused, then start it.

    Raises what ``stop`` and ``start`` raise; a start that fails leaves it stopped.
    """
    began_ns = time.monotonic_ns()
    with context.locked(context.resolve(name)) as record:
        monitor = spawn_monitor()
        try:
            state = settle(context, record)
            wanted = want_running(context, record, anew=True)
            if observe.is_live(state):
                state = stop_and_settle(
                    context, record, state, timeout_s=timeout_s, signal=signal, for_good=False
                )
                context.events.container("stop", record, began_ns=began_ns)
            pending.cancel(context, record.id)
        except BaseException:
            monitor.close()
            raise
        start_settled(context, wanted._replace(state=state), monitor=monitor)
        context.events.container("restart", record, began_ns=began_ns)
