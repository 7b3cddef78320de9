"""Bring a container's record and what it left on the host in line with what really is.

Crash-only: whoever holds the container's lock calls ``settle`` first, so whatever died half-way
(command, monitor, host) is put right by the next command. There is no other recovery.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runengine.errors import Conflict, EngineError, RuntimeFailed, TimedOut, Unavailable
from runengine.linux import pidfd
from runengine.linux.locks import is_locked, try_lock
from runengine.mgr.container import observe, pending
from runengine.mgr.container.context import discard_directory, make_private_directory
from runengine.mgr.network.modes import has_networks

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record, State

MONITOR_GRACE_S = 30.0
"""How long a monitor may take from its init's death to the end of its teardown."""
STALL_S = 0.5
"""After so long a wait for a monitor it is looked, now and then, whether it is stopped."""
RECLAIM_PATIENCE_S = 5.0
"""Two containers that start and want what the other has would wait for each other for ever."""


def settle(context: Context, record: Record) -> State:
    """The true state, written down, with the leftovers of an ended run cleared away.

    The caller holds the container's lock. Waits for a monitor that is recording an exit, or
    starting the container.
    """
    state = observe.observe(context, record)
    if not _lives(state):
        # It records an exit, or starts the container for a command that was killed.
        wait_for_monitor(
            context, record.id, unless=lambda: _lives(observe.observe(context, record))
        )
        state = observe.observe(context, record)
    if _lives(state):
        if state is not record.state:
            context.store.containers.set_state(record.id, state)
        return state
    tear_down(context, record)
    if state is not record.state:
        context.store.containers.set_state(record.id, state)
        if state["ExitCode"] is None and record.status != "exited":
            context.events.died(record)  # nobody saw it: the monitor writes down all others
    return state


def _lives(state: State) -> bool:
    """Whether the init is there; not while its end is just being written down."""
    return observe.is_live(state) and pidfd.is_alive(state["Pid"], state["StartTime"])


def wait_for_monitor(
    context: Context, container_id: str, *, unless: Callable[[], bool] = lambda: False
) -> None:
    """Wait until the container's monitor has finished. Raises TimedOut if it hangs."""
    import time

    deadline = time.monotonic() + MONITOR_GRACE_S
    look_at = time.monotonic() + STALL_S
    pause_s = 0.001
    while observe.monitor_lives(context, container_id) and not unless():
        if time.monotonic() > look_at:
            _refuse_stalled(context, container_id, last=time.monotonic() > deadline)
            look_at = time.monotonic() + STALL_S
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.05)


def _refuse_stalled(context: Context, container_id: str, *, last: bool) -> None:
    """Raise TimedOut if the monitor cannot finish as it is stopped, or at ``last`` anyway."""
    from runengine.mgr.container import stalled

    reason = stalled.explain(context, container_id)
    if reason is not None:
        raise reason
    if last:
        raise TimedOut(
            f"the monitor of container {container_id[:12]} does not finish",
            resolution=f"see who holds {context.state_dir(container_id)}/monitor.lock",
        )


def tear_down(context: Context, record: Record) -> None:
    """Clear away what an ended run left: runtime state, cgroups, mounts, volatile files.

    Idempotent; does nothing to speak of when the monitor has done it already.
    """
    from runengine.linux.mount import unmount

    state_dir = context.state_dir(record.id)
    if os.path.lexists(f"{state_dir}/monitor.sock"):
        from runengine.mgr.container import orphans

        orphans.end(context, record.id)
    if os.path.exists(f"{context.paths.runtime_root}/{record.id}"):
        _delete_from_runtime(context, record)
    _clear_cgroups(record)
    _disconnect(context, record)
    for target in (f"{context.data_dir(record.id)}/merged", f"{state_dir}/shm"):
        unmount(target)
    _forget_user_namespace(context, record)
    if record.details.get("points"):
        from runengine.mgr.container import volumes

        volumes.let_go(context, record)
    for name in ("init.json", "monitor.sock", "monitor.lock"):
        _unlink(f"{state_dir}/{name}")
    discard_directory(f"{state_dir}/bundle")


def _forget_user_namespace(context: Context, record: Record) -> None:
    if "userns" in record.details:
        from runengine.mgr.container import userns

        userns.tear_down(context, record)


def _delete_from_runtime(context: Context, record: Record) -> None:
    """Have the runtime forget it; what one that is gone, or hangs, has of it are files."""
    from runengine.mgr.container.runtime import runtime_of

    try:
        runtime_of(context, record).delete(record.id, force=True)
    except (RuntimeFailed, TimedOut, Unavailable):
        from runengine.monitor import cgroup

        cgroup.kill(record.details.get("cgroup", {}))
        discard_directory(f"{context.paths.runtime_root}/{record.id}")


def _clear_cgroups(record: Record) -> None:
    """Kill what is left in the container's cgroups and remove them; they may be gone already."""
    directories = record.details.get("cgroup", {})
    if any(os.path.isdir(path) for path in directories.values()):
        from runengine.cgroups import layout

        layout.remove(directories)


def _disconnect(context: Context, record: Record) -> None:
    """Give back what a container on a network had there; nothing of it outlives its processes."""
    if has_networks(record.host_config["NetworkMode"]):
        from runengine.mgr.network import sandbox

        sandbox.tear_down(context, record.id)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def settle_lost(context: Context, container_id: str) -> None:
    """Settle a container that was found in a state it cannot stay in, if nobody is at it.

    For readers such as ``ps``: takes the lock only if it is free, and never fails them.
    """
    directory = context.state_dir(container_id)
    lock = f"{directory}/lock"
    try:
        make_private_directory(directory)
        os.close(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        fd = try_lock(lock)
    except (OSError, EngineError):
        return
    if fd is None:
        return
    try:
        record = context.find(container_id)
        if record is None:
            discard_directory(directory)
        elif not observe.monitor_lives(context, container_id):
            finish(context, record)
    except EngineError:
        return
    finally:
        os.close(fd)


def reclaim(context: Context, container_id: str) -> None:
    """Settle a container whose addresses or ports another wants, unless its processes live.

    Waits for whoever is at it: its teardown may be under way. Never fails.
    """
    try:
        record = context.find(container_id)
        if record is None or _lives(observe.observe(context, record)):
            return
        with context.locked(container_id, timeout_s=RECLAIM_PATIENCE_S) as record:
            finish(context, record)
    except EngineError:
        return


def is_busy(context: Context, container_id: str) -> bool:
    """Whether a container runs, or somebody is just at it: starting or stopping it, perhaps."""
    record = context.find(container_id)
    if record is None:
        return False
    if _lives(observe.observe(context, record)):
        return True
    return is_locked(f"{context.state_dir(container_id)}/lock")


def sweep_orphans(context: Context, known: set[str]) -> None:
    """Remove volatile directories without a record: of creates that died before they had one."""
    try:
        names = os.listdir(f"{context.paths.state}/containers")
    except FileNotFoundError:
        return
    for name in names:
        if name not in known:
            settle_lost(context, name)


def finish(context: Context, record: Record) -> None:
    """After an exit: settle, and remove the container if it was to be removed then.

    The caller holds the lock. Raises EngineError if something cannot be cleared away.
    """
    from runengine.mgr.container.discard import remove_settled

    if record.status in ("creating", "removing"):
        tear_down(context, record)
        remove_settled(context, record)
        return
    state = settle(context, record)
    if observe.is_live(state):
        return
    if record.host_config["AutoRemove"] and state["Status"] == "exited":
        remove_settled(context, record, volumes=True)


def require_live(record: Record, state: State) -> None:
    """Raise Conflict unless the container runs or is paused."""
    pending.refuse_restarting(record, state)
    if not observe.is_live(state):
        raise Conflict(f"Container {record.name} is not running")
