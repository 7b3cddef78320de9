"""``wait``: for the end of a run, without holding the container's lock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter, NotFound
from runengine.mgr.container import gone, observe, pending, stalled

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context
    from runengine.store.containers import State

CONDITIONS = ("not-running", "next-exit", "removed")
POLL_S = 0.02


class Waited(NamedTuple):
    """How the run ended; ``exit_code`` is None where nobody saw it."""

    exit_code: int | None
    error: str


def wait(context: Context, name: str, condition: str = "not-running") -> Waited:
    """Wait for the container's run to end, or for its removal, and say how it ended.

    One that does not run answers at once with its last run (0 if it never ran), except for
    ``next-exit``; one that is restarting with the end of its next run, or with its last one's if
    the restart is called off; one that was removed, named by its id, with its last exit, as long
    as the journal of events has it.

    Raises NotFound, InvalidParameter, TimedOut (a stopped monitor).
    """
    if condition not in CONDITIONS:
        raise InvalidParameter(f"invalid condition: {condition!r}; one of {', '.join(CONDITIONS)}")
    try:
        container_id = context.resolve(name)
    except NotFound:
        end = gone.find_end(context.paths.journal, name)
        if end is None:
            raise
        return _gone(end)
    if condition == "next-exit":
        _await_start(context, container_id)
    result = _await_exit(context, container_id)
    while condition == "removed" and context.find(container_id) is not None:
        time.sleep(POLL_S)
    return result


def _await_start(context: Context, container_id: str) -> None:
    while True:
        record = context.find(container_id)
        if record is None or observe.is_live(observe.observe(context, record)):
            return
        time.sleep(POLL_S)


def _await_exit(context: Context, container_id: str) -> Waited:
    from runengine.monitor import client

    first: State | None = None
    last: State | None = None
    ran = False
    while True:
        record = context.find(container_id)
        if record is None:
            # What was seen last is no answer: it may have been running still.
            return _gone(gone.find_end(context.paths.journal, container_id))
        last = pending.look(context, record)
        first = first or last
        # A run may be over between two looks.
        ran = ran or observe.is_live(last) or last["StartedAt"] != first["StartedAt"]
        if last["Status"] == pending.RESTARTING and not ran:
            stalled.refuse(context, container_id)
            time.sleep(POLL_S)
            continue
        if not observe.is_live(last):
            if last["ExitCode"] is None:
                stalled.refuse(context, container_id)
            return _result(last)
        connection = client.connect(context.state_dir(container_id))
        if connection is None:
            time.sleep(POLL_S)
            continue
        with connection:
            exit_record = connection.wait()
        if exit_record is not None:
            return Waited(exit_record["exit_code"], exit_record["error"])


def _result(state: State) -> Waited:
    return Waited(state["ExitCode"], state["Error"])


def _gone(end: gone.End | None) -> Waited:
    if end is None or end.exit_code is None:
        return Waited(None, "the container was removed before its exit was seen")
    return Waited(end.exit_code, "")
