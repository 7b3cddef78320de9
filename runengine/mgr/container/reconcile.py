"""The reconciler: what a container's user and its policy want against what is.

It runs after every exit (the monitor's on-exit command), when the engine's service or the host
comes up (``restore``), and nowhere else. Everything is decided under the container's lock by
what is written down, so that however many run at once, one of them starts the container.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runengine.errors import EngineError, NotFound
from runengine.linux import clock
from runengine.mgr.container import pending, policy
from runengine.mgr.container.recover import finish
from runengine.mgr.container.start import (
    START_FAILED,
    engine_command,
    spawn_monitor,
    start_settled,
)
from runengine.store.containers import Restarts

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context
    from runengine.mgr.container.policy import Decision, Occasion
    from runengine.store.containers import Record, State

LOCK_PATIENCE_S = 60.0
"""Whoever holds a container for longer will leave it in order himself."""


def halting_path(context: Context) -> str:
    """The file that says that the host goes down: nothing is restarted while it is there."""
    return f"{context.paths.state}/halting"


def cleanup(context: Context, container_id: str) -> None:
    """What a monitor calls after an exit that no command waited for; safe at any time.

    Raises EngineError if the exit could not be written down; then the monitor calls again.
    """
    try:
        reconcile(context, container_id, at="exit")
    except NotFound:
        return


def reconcile(context: Context, container_id: str, *, at: Occasion) -> str | None:
    """Write down what is, clear up, and start the container again if it is to run.

    Returns what is wrong with it, if a start failed: it is tried again after a while. Raises
    NotFound, TimedOut, and EngineError if it cannot be brought in order.
    """
    with context.locked(container_id, timeout_s=LOCK_PATIENCE_S) as record:
        finish(context, record)
        found = context.find(container_id)
        if found is None or not _may_start(context, found, at):
            return None
        found = _forgive_reboot(found)
        decision = _decide(found, at)
        return _restart(context, found, decision) if decision.restart else None


def _may_start(context: Context, record: Record, at: Occasion) -> bool:
    """Unless it is somebody else's turn: a process that waits for the time to come."""
    if os.path.exists(halting_path(context)):
        return False
    waiting = pending.find(context, record.id)
    return waiting is None or (at == "exit" and waiting.is_due)


def _forgive_reboot(record: Record) -> Record:
    """That the host went down was no failure of the container's."""
    was_cut_short = record.state["ExitCode"] is None
    if was_cut_short and record.state["BootId"] != clock.boot_id():
        return record._replace(restarts=Restarts())
    return record


def _decide(record: Record, at: Occasion) -> Decision:
    host_policy = record.host_config["RestartPolicy"]
    return policy.decide(host_policy, record.desired, record.state, record.restarts, at=at)


def _restart(context: Context, record: Record, decision: Decision) -> str | None:
    """Start it; the count is raised first, so that a limit holds whoever dies in between."""
    restarts = Restarts(record.restarts.times + 1, decision.delay_s)
    context.store.containers.set_desired(record.id, policy.RUNNING, restarts)
    record = record._replace(desired=policy.RUNNING, restarts=restarts)
    try:
        start_settled(context, record)
    except (EngineError, OSError) as error:
        _start_failed(context, record, error)
        return str(error)
    return None


def _start_failed(context: Context, record: Record, error: EngineError | OSError) -> None:
    """A start that failed is a run that lasted no time: the policy says what comes next."""
    now = clock.now()
    code = getattr(error, "exit_code", 0)
    state: State = {
        **record.state,
        "Status": "exited",
        "ExitCode": code if code in (126, 127) else START_FAILED,
        "Signal": None,
        "Error": str(error),
        "StartedAt": now,
        "FinishedAt": now,
        "RanS": 0.0,
    }
    context.store.containers.set_state(record.id, state)
    schedule_next(context, record._replace(state=state))


def schedule_next(context: Context, record: Record) -> None:
    """Have an ended container without a monitor started again when its policy says.

    The caller holds the lock. A lean process waits and then runs ``cleanup``: this one would
    cost thirty megabytes meanwhile.
    """
    decision = _decide(record, "exit")
    if not decision.restart:
        return
    command = engine_command(context, "container", "cleanup", record.id)
    monitor = spawn_monitor()
    try:
        monitor.pend(context.state_dir(record.id), command, decision.delay_s)
    finally:
        monitor.close()
