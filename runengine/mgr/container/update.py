"""``update``: change a container's settings, also while it runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runengine.errors import Conflict, EngineError
from runengine.mgr.container import observe, pending, policy, reconcile
from runengine.mgr.container.recover import settle
from runengine.mgr.container.start import on_exit, restart_job

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context
    from runengine.model import HostConfig, RestartPolicy
    from runengine.store.containers import Record


def update(
    context: Context, name: str, *, restart_policy: RestartPolicy | None = None
) -> list[str]:
    """Change what is given; returns warnings. It counts from the next exit on.

    Raises InvalidParameter, NotFound, or Conflict for a policy on a container with ``--rm``.
    """
    if restart_policy is None:
        return []
    policy.check(restart_policy)
    began_ns = time.monotonic_ns()
    with context.locked(context.resolve(name)) as record:
        if record.host_config["AutoRemove"] and not policy.is_none(restart_policy):
            raise Conflict(
                f"cannot update container {record.name}: restart policy cannot be updated because"
                " AutoRemove is enabled for the container"
            )
        state = settle(context, record)
        host: HostConfig = {**record.host_config, "RestartPolicy": restart_policy}
        context.store.containers.set_host_config(record.id, host)
        record = record._replace(host_config=host, state=state)
        warnings = _act(context, record)
        context.events.container("update", record, began_ns=began_ns)
    return warnings


def _act(context: Context, record: Record) -> list[str]:
    """Let those who wait for the container's exit, or for its restart, know."""
    if not observe.is_live(record.state):
        if policy.is_none(record.host_config["RestartPolicy"]):
            pending.cancel(context, record.id)
        return []
    if _tell_monitor(context, record):
        return []
    if observe.is_live(settle(context, record)):
        return [
            f"container {record.name} runs without a monitor that could apply the policy;"
            " it counts when the service looks at the container again"
        ]
    # It ended just now, and its monitor did not know of the policy yet.
    reconcile.schedule_next(context, context.store.containers.get(record.id))
    return []


def _tell_monitor(context: Context, record: Record) -> bool:
    from runengine.monitor import client

    connection = client.connect(context.state_dir(record.id))
    if connection is None:
        return False
    with connection:
        try:
            connection.update(restart=restart_job(record), on_exit=on_exit(context, record))
        except (EngineError, OSError):
            return False
    return True
