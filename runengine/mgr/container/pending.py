"""Restarts that are waited for: who waits, how that is seen, and how it is called off.

A lean process of the monitor's kind sleeps until a restart is due (``monitor.pending``); its note
is ``restart.json``. The note counts only while the very process lives, and the process decides
nothing: ``reconcile`` does, under the container's lock, by what is then written down.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, cast

from runengine.errors import Conflict
from runengine.linux import pidfd
from runengine.linux.fsatomic import read_optional
from runengine.mgr.container import observe, policy

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record, State

RESTARTING = "restarting"
SIGTERM, SIGKILL = 15, 9
PATIENCE_S = 1.0
"""How long the waiting process may take to go by itself."""


class Note(NamedTuple):
    """Who waits, and until when (seconds of the monotonic clock)."""

    pid: int
    start_time: int
    due: float

    @property
    def is_due(self) -> bool:
        """Whether the wait is over."""
        return time.monotonic() >= self.due


def _path(context: Context, container_id: str) -> str:
    return f"{context.state_dir(container_id)}/restart.json"


def find(context: Context, container_id: str) -> Note | None:
    """The restart that is waited for, or None."""
    try:
        document = json.loads(read_optional(_path(context, container_id)) or b"null")
        note = Note(int(document["pid"]), int(document["start_time"]), float(document["due"]))
    except (OSError, TypeError, KeyError, ValueError, OverflowError):
        return None
    return note if pidfd.is_alive(note.pid, note.start_time) else None


def cancel(context: Context, container_id: str) -> bool:
    """Call the restart off; whether there was one. The caller holds the container's lock.

    A command that the process had started by then waits for the lock, and decides anew.
    """
    note = find(context, container_id)
    with suppress(FileNotFoundError):
        os.unlink(_path(context, container_id))
    fd = pidfd.open_verified(note.pid, note.start_time) if note else None
    if fd is None:
        return False
    try:
        if pidfd.send(fd, SIGTERM) and not pidfd.wait(fd, PATIENCE_S):
            pidfd.send(fd, SIGKILL)
    finally:
        os.close(fd)
    return True


def shown(context: Context, record: Record, state: State) -> State:
    """The state as operators see it: ``restarting`` while a restart is waited for."""
    wanted = record.host_config["RestartPolicy"]
    if state["Status"] != "exited" or record.desired != policy.RUNNING or policy.is_none(wanted):
        return state
    # In this order: the monitor writes the note before it ends. While the container is being
    # started the monitor is the next run's, and by then the last restart may be counted.
    comes = observe.monitor_lives(context, record.id) and (
        policy.decide(wanted, record.desired, state, record.restarts, at="exit").restart
    )
    comes = comes or find(context, record.id) is not None
    return cast("State", {**state, "Status": RESTARTING}) if comes else state


def look(context: Context, record: Record) -> State:
    """The state now, as operators see it. Reads only.

    An end is looked at again where a policy may have started the container since: who waited for
    that is gone then as well.
    """
    while True:
        state = shown(context, record, observe.observe(context, record))
        if state["Status"] != "exited" or policy.is_none(record.host_config["RestartPolicy"]):
            return state
        now = context.find(record.id)
        if now is None or (now.state, now.restarts) == (record.state, record.restarts):
            return state
        record = now


def is_up(state: State) -> bool:
    """Whether the container runs, is paused, or is about to run again."""
    return observe.is_live(state) or state["Status"] == RESTARTING


def refuse_restarting(record: Record, state: State) -> None:
    """Raise Conflict for what makes no sense between two runs."""
    if state["Status"] == RESTARTING:
        raise Conflict(
            f"Container {record.name} is restarting, wait until the container is running"
        )
