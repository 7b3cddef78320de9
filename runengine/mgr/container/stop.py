"""``stop``, ``kill``, ``pause``, ``unpause``: signals to a container, and waiting for the end."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from runengine.errors import Conflict, EngineError, NotModified, TimedOut
from runengine.linux import pidfd
from runengine.mgr.container import observe, pending, policy, stalled
from runengine.mgr.container.recover import finish, require_live, settle
from runengine.mgr.container.signals import parse_signal

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record, State

DEFAULT_STOP_TIMEOUT_S = 10
KILL_TIMEOUT_S = 30.0
FREEZE_PATIENCE_S = 0.5
THAW_TIMEOUT_S = 1.0
"""For an end that the runtime has noticed before us."""
LOCK_PATIENCE_S = 0.2
"""How long a signal waits for other operations on the container before it goes past them."""
SIGKILL = 9
SIGTERM = 15


def stop(
    context: Context, name: str, *, timeout_s: int | None = None, signal: str | None = None
) -> None:
    """Stop a container: its stop signal to the init, then SIGKILL after the time-out.

    ``timeout_s``: None is the container's own, 0 is now, negative is without end. Raises
    NotModified if it does not run.
    """
    began_ns = time.monotonic_ns()
    with context.locked(context.resolve(name)) as record:
        state = settle(context, record)
        if not observe.is_live(state):
            _stop_ended(context, record)
            context.events.container("stop", record, began_ns=began_ns)
            return
        stop_and_settle(context, record, state, timeout_s=timeout_s, signal=signal)
        pending.cancel(context, record.id)
        context.events.container("stop", record, began_ns=began_ns)
        finish(context, context.store.containers.get(record.id))


def _stop_ended(context: Context, record: Record) -> None:
    """Stop what does not run: nothing shall start it, now or when the host comes up."""
    _note_request(context, record)
    if not pending.cancel(context, record.id):
        raise NotModified(f"Container {record.name} is not running")


def stop_and_settle(
    context: Context,
    record: Record,
    state: State,
    *,
    timeout_s: int | None = None,
    signal: str | None = None,
    for_good: bool = True,
) -> State:
    """Stop a live container whose lock is held; returns the state after its exit.

    ``for_good``: its user wants it so; otherwise what is wanted stays as it is. Raises TimedOut
    if its monitor is stopped, so that nobody would see the end.
    """
    stalled.refuse(context, record.id)
    number = parse_signal(signal or record.config["StopSignal"] or SIGTERM)
    limit_s = _stop_timeout(record, timeout_s)
    if for_good:
        _note_request(context, record)
    fd = pidfd.open_verified(state["Pid"], state["StartTime"])
    if fd is not None:
        import os

        try:
            if limit_s != 0:
                _send(context, record, fd, number)
                _thaw(context, record, state, fd)
            if limit_s == 0 or not pidfd.wait(fd, limit_s):
                return kill_and_settle(context, record, state, for_good=for_good)
        finally:
            os.close(fd)
    return settle(context, context.store.containers.get(record.id))


def _send(context: Context, record: Record, fd: int, number: int) -> None:
    """Signal the init; written down first, so that it comes before the end that it brings."""
    context.events.container("kill", record, signal=str(number))
    pidfd.send(fd, number)


def _stop_timeout(record: Record, timeout_s: int | None) -> float | None:
    if timeout_s is None:
        timeout_s = record.config["StopTimeout"]
    if timeout_s is None:
        timeout_s = DEFAULT_STOP_TIMEOUT_S
    return None if timeout_s < 0 else timeout_s


def _note_request(context: Context, record: Record) -> None:
    if record.desired != policy.STOPPED:
        context.store.containers.set_desired(record.id, policy.STOPPED)


def kill_and_settle(
    context: Context, record: Record, state: State, *, for_good: bool = True
) -> State:
    """SIGKILL a live container whose lock is held, and wait for its end.

    Raises TimedOut if the kernel cannot end it (a process in uninterruptible sleep), or if its
    monitor is stopped.
    """
    import os

    stalled.refuse(context, record.id)
    if for_good:
        _note_request(context, record)
    fd = pidfd.open_verified(state["Pid"], state["StartTime"])
    if fd is not None:
        try:
            _send(context, record, fd, SIGKILL)
            _thaw(context, record, state, fd)
            if not _await_end(context, record, fd):
                raise TimedOut(
                    f"container {record.name}: pid {state['Pid']} does not end after SIGKILL",
                    resolution="it waits inside the kernel; see /proc/PID/stack and dmesg",
                )
        finally:
            os.close(fd)
    return settle(context, context.store.containers.get(record.id))


def _await_end(context: Context, record: Record, fd: int) -> bool:
    """Wait for the end of an init that got SIGKILL; False if it does not come.

    The runtime of a ``pause`` that was killed may go on and freeze it only now; or it is in a
    cgroup of the container's own making, which is frozen.
    """
    if pidfd.wait(fd, FREEZE_PATIENCE_S):
        return True
    from runengine.mgr.container import orphans
    from runengine.monitor import cgroup

    orphans.end(context, record.id)
    cgroup.thaw(record.details.get("cgroup", {}))
    return pidfd.wait(fd, KILL_TIMEOUT_S)


def _thaw(context: Context, record: Record, state: State, fd: int) -> None:
    """A frozen process acts on no signal (cgroup v1), so thaw after sending it.

    ``fd`` is the init's: once it has ended, before the thaw (cgroup v2 lets SIGKILL through) or
    while the runtime was still looking, nothing that the runtime says matters. One that is not
    there any more, or hangs, is not needed for it.
    """
    if state["Status"] != "paused":
        return
    from runengine.mgr.container.runtime import runtime_of

    try:
        runtime_of(context, record).resume(record.id)
    except EngineError:
        from runengine.monitor import cgroup

        directories = record.details.get("cgroup", {})
        cgroup.thaw(directories)
        if observe.is_frozen(directories) and not pidfd.wait(fd, THAW_TIMEOUT_S):
            raise


def kill(context: Context, name: str, signal: str | int) -> None:
    """Send a signal to the container's init; after SIGKILL wait for its end.

    Does not wait for an operation that holds the container, such as a patient ``stop``. Raises
    InvalidParameter, NotFound, or Conflict if it is paused or does not run.
    """
    number = parse_signal(signal)
    container_id = context.resolve(name)
    with ExitStack() as stack:
        try:
            record = stack.enter_context(context.locked(container_id, timeout_s=LOCK_PATIENCE_S))
        except TimedOut:
            if kill_beside(context, container_id, number):
                return
            record = stack.enter_context(context.locked(container_id))
        _kill_locked(context, record, number)


def _kill_locked(context: Context, record: Record, number: int) -> None:
    state = pending.shown(context, record, settle(context, record))
    if state["Status"] == pending.RESTARTING and _is_to_end(record, number):
        _stop_ended(context, record)
        return
    _check_killable(record, state, number)
    if number == SIGKILL:
        kill_and_settle(context, record, state)
        pending.cancel(context, record.id)
        finish(context, context.store.containers.get(record.id))
    else:
        _signal_init(context, record, state, number)


def _is_to_end(record: Record, number: int) -> bool:
    """Whether the signal says that the user wants the container to end."""
    return number in (SIGKILL, parse_signal(record.config["StopSignal"] or SIGTERM))


def kill_beside(context: Context, container_id: str, number: int) -> bool:
    """Signal a container whose lock another operation holds, which will settle it.

    False if it is just being started again: there is nothing to signal yet. Raises as ``kill``.
    """
    record = context.store.containers.get(container_id)
    state = pending.look(context, record)
    if state["Status"] == pending.RESTARTING:
        return False
    _check_killable(record, state, number)
    fd = pidfd.open_verified(state["Pid"], state["StartTime"])
    if fd is not None:
        import os

        try:
            _send(context, record, fd, number)
            if number == SIGKILL:
                _thaw(context, record, state, fd)
                pidfd.wait(fd, KILL_TIMEOUT_S)
        finally:
            os.close(fd)
    return True


def _check_killable(record: Record, state: State, number: int) -> None:
    require_live(record, state)
    if state["Status"] == "paused" and number != SIGKILL:
        raise Conflict(
            f"Container {record.name} is paused",
            resolution="unpause the container before signalling it",
        )


def _signal_init(context: Context, record: Record, state: State, number: int) -> None:
    import os

    if _is_to_end(record, number):
        _note_request(context, record)
    fd = pidfd.open_verified(state["Pid"], state["StartTime"])
    if fd is not None:
        try:
            _send(context, record, fd, number)
        finally:
            os.close(fd)


def pause(context: Context, name: str) -> None:
    """Freeze every process of the container. Raises Conflict unless it is running."""
    from runengine.mgr.container.runtime import runtime_of

    began_ns = time.monotonic_ns()
    with context.locked(context.resolve(name)) as record:
        state = settle(context, record)
        pending.refuse_restarting(record, pending.shown(context, record, state))
        if state["Status"] != "running":
            raise Conflict(f"container {record.name}'s status is not running: {state['Status']}")
        runtime_of(context, record).pause(record.id)
        context.store.containers.set_state(record.id, {**state, "Status": "paused"})
        context.events.container("pause", record, began_ns=began_ns)


def unpause(context: Context, name: str) -> None:
    """Let the container's processes go on. Raises Conflict unless it is paused."""
    from runengine.mgr.container.runtime import runtime_of

    began_ns = time.monotonic_ns()
    with context.locked(context.resolve(name)) as record:
        state = settle(context, record)
        if state["Status"] != "paused":
            raise Conflict(f"container {record.name} is not paused: {state['Status']}")
        runtime_of(context, record).resume(record.id)
        context.store.containers.set_state(record.id, {**state, "Status": "running"})
        context.events.container("unpause", record, began_ns=began_ns)
