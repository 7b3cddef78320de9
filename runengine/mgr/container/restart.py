"""``restart``: stop and start under one hold of the lock, so nothing comes in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.mgr.container import observe
from runengine.mgr.container.recover import settle
from runengine.mgr.container.start import spawn_monitor, start_settled
from runengine.mgr.container.stop import stop_and_settle

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context


def restart(
    context: Context, name: str, *, timeout_s: int | None = None, signal: str | None = None
) -> None:
    """Stop the container if it runs or is paused, then start it.

    Raises what ``stop`` and ``start`` raise; a start that fails leaves it stopped.
    """
    with context.locked(context.resolve(name)) as record:
        monitor = spawn_monitor()
        try:
            state = settle(context, record)
            if observe.is_live(state):
                state = stop_and_settle(
                    context, record, state, timeout_s=timeout_s, signal=signal
                )
        except BaseException:
            monitor.close()
            raise
        start_settled(context, record._replace(state=state), monitor=monitor)
