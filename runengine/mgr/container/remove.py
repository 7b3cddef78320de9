"""``rm``: everything of a container goes, or the record stays and says so."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from runengine.errors import Conflict, StateError, TimedOut
from runengine.linux import pidfd
from runengine.mgr.container import observe, pending
from runengine.mgr.container.discard import remove_settled
from runengine.mgr.container.recover import settle

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context


def remove(
    context: Context, name: str, *, force: bool, volumes: bool = False, made: bool = False
) -> None:
    """Remove a container; with ``force`` a running one is killed first, at once.

    ``volumes`` removes its anonymous volumes, too, unless others mount them, as happens anyway
    to a container of ``--rm``; ``made`` removes all that its creation has made, for one that could
    not be started. ``force`` also removes one whose record is damaged. Raises
    NotFound, StateError (damaged), or Conflict for a running, paused or restarting container
    without ``force``.
    """
    container_id = context.resolve(name)
    if force and _is_damaged(context, container_id):
        from runengine.mgr.container.damaged import remove_damaged

        remove_damaged(context, container_id, volumes=volumes)
        return
    if not force:
        _remove(context, container_id, force=False, volumes=volumes, made=made)
        return
    _hurry(context, container_id)
    try:
        _remove(context, container_id, force=True, volumes=volumes, made=made)
    except TimedOut:
        if not _end_monitor(context, container_id):
            raise
        _remove(context, container_id, force=True, volumes=volumes, made=made)


def _is_damaged(context: Context, container_id: str) -> bool:
    try:
        context.find(container_id)
    except StateError:
        return True
    return False


def _remove(
    context: Context, container_id: str, *, force: bool, volumes: bool, made: bool
) -> None:
    from runengine.mgr.container.stop import kill_and_settle

    with context.locked(container_id) as record:
        state = settle(context, record)
        if observe.is_live(state):
            if not force:
                raise Conflict(
                    f"container {record.name} is not stopped, cannot remove it without flag force",
                    resolution="stop it first, or use rm -f",
                )
            kill_and_settle(context, record, state)
        elif not force and pending.shown(context, record, state)["Status"] == pending.RESTARTING:
            raise Conflict(
                f'cannot remove container "{record.name}": container is restarting: stop the'
                " container before removing or force remove"
            )
        pending.cancel(context, container_id)
        remove_settled(
            context,
            context.store.containers.get(container_id),
            volumes=volumes or record.host_config["AutoRemove"],
            made=made,
        )


def _end_monitor(context: Context, container_id: str) -> bool:
    """End a monitor that keeps a container from being removed although its init has ended."""
    from runengine.mgr.container import stalled

    record = context.find(container_id)
    if record is None or not observe.monitor_lives(context, container_id):
        return False
    state = observe.observe(context, record)
    if observe.is_live(state) and pidfd.is_alive(state["Pid"], state["StartTime"]):
        return False
    stalled.end_monitor(context, container_id)
    return True


def _call_start_off(context: Context, container_id: str) -> None:
    if not os.path.lexists(f"{context.state_dir(container_id)}/monitor.sock"):
        return
    from runengine.monitor import client

    connection = client.connect(context.state_dir(container_id))
    if connection is not None:
        with connection:
            connection.give_up()


def _hurry(context: Context, container_id: str) -> None:
    """Cut an operation short that holds the container while it waits for its end (``stop``).

    A start, too, that goes on although the command that wanted it was killed. What somebody has
    stopped, and would hold us up, goes on.
    """
    from runengine.mgr.container import stalled, stop

    stalled.wake_monitor(context, container_id)
    try:
        with context.locked(container_id, timeout_s=stop.LOCK_PATIENCE_S) as record:
            if not observe.is_live(observe.observe(context, record)):
                _call_start_off(context, container_id)
    except TimedOut:
        stalled.wake_holders(context, container_id)
        with suppress(Conflict):
            stop.kill_beside(context, container_id, stop.SIGKILL)
