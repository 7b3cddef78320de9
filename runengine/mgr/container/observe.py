"""What a container really does now, as the kernel and its monitor's records tell it.

The stored state is a note of what the engine last did. Processes die, hosts reboot and engines are
killed without a note, so every reader passes the note through ``observe``: a pid counts only with
its start time, an exit only with its record, and what nobody saw is unknown (``ExitCode`` None).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from runengine.errors import Conflict, InvalidParameter
from runengine.linux import clock, pidfd
from runengine.linux.fsatomic import read_optional
from runengine.linux.locks import is_locked
from runengine.store.containers import NEVER, State

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record

LIVE = frozenset({"running", "paused"})
MAX_PID = 1 << 22
"""The kernel's own limit (proc_sys_kernel(5), pid_max)."""


def exit_paths(context: Context, container_id: str) -> tuple[str, str]:
    """Where the monitor leaves the exit record; in the second place when the disk is full."""
    places = context.data_dir(container_id), context.state_dir(container_id)
    return f"{places[0]}/exit.json", f"{places[1]}/exit.json"


def observe(context: Context, record: Record) -> State:
    """The container's state now. Reads only; never waits.

    A start that died before its note was written shows by the monitor's own note of the init.
    """
    state = record.state
    init = init_note(context, record.id)
    if init is not None and init != (state["Pid"], state["StartTime"]):
        if pidfd.is_alive(*init):
            state = _running(state, init)
        elif state["Status"] not in LIVE:
            return _ended(context, record.id, _running(state, init)) or state
    if state["Status"] not in LIVE:
        return state
    if state["BootId"] == clock.boot_id() and pidfd.is_alive(state["Pid"], state["StartTime"]):
        return _frozen(record, state)
    return _after_death(context, record.id, state)


def _after_death(context: Context, container_id: str, state: State) -> State:
    """The init is gone: its exit record, or, with no monitor left to write one, the unknown."""
    ended = _ended(context, container_id, state)
    if ended is not None:
        return ended
    if monitor_lives(context, container_id):
        pid = stopped_monitor(context, container_id)
        return unrecorded(state, pid) if pid else state  # the exit is being recorded
    return _ended(context, container_id, state) or lost(state)


def _ended(context: Context, container_id: str, state: State) -> State | None:
    for path in exit_paths(context, container_id):
        record = _load(path)
        if record is not None:
            return with_exit(state, record)
    return None


def init_note(context: Context, container_id: str) -> tuple[int, int] | None:
    """Pid and start time of the last run's init, as its monitor wrote them; None without."""
    return _identity(context, container_id, "pid", "start_time")


def monitor_note(context: Context, container_id: str) -> tuple[int, int] | None:
    """Pid and start time of the last run's monitor, as it wrote them; None without."""
    return _identity(context, container_id, "monitor_pid", "monitor_start_time")


def _identity(context: Context, container_id: str, *names: str) -> tuple[int, int] | None:
    """Two numbers of the monitor's note; None also where it is damaged."""
    note = _load(f"{context.state_dir(container_id)}/init.json") or {}
    pid, start_time = (note.get(name) for name in names)
    if isinstance(pid, int) and isinstance(start_time, int) and 0 <= pid < MAX_PID:
        return pid, start_time
    return None


def stopped_monitor(context: Context, container_id: str) -> int:
    """Pid of the container's monitor if somebody has stopped it (SIGSTOP, a debugger), or 0."""
    note = monitor_note(context, container_id)
    if note is not None and pidfd.is_alive(*note) and pidfd.is_stopped(note[0]):
        return note[0]
    return 0


def _load(path: str) -> dict[str, Any] | None:
    try:
        document = json.loads(read_optional(path) or b"null")
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _running(state: State, init: tuple[int, int]) -> State:
    return started(state, init[0], init[1], state["StartedAt"])


def started(state: State, pid: int, start_time: int, at: str) -> State:
    """The state after a start; what the last run left behind is cleared."""
    return {
        **state,
        "Status": "running",
        "Pid": pid,
        "StartTime": start_time,
        "BootId": clock.boot_id(),
        "ExitCode": 0,
        "Signal": None,
        "OOMKilled": False,
        "Error": "",
        "StartedAt": clock.now() if at == NEVER else at,
        "FinishedAt": NEVER,
        "RanS": None,
        "CpuNs": None,
        "MemoryPeakBytes": None,
        "OOMKills": None,
    }


def with_exit(state: State, exit_record: dict[str, Any]) -> State:
    """The state after an exit that the monitor recorded; what is damaged in there is unknown."""
    return {
        **state,
        "Status": "exited",
        "Pid": 0,
        "StartTime": 0,
        "ExitCode": _number(exit_record.get("exit_code")),
        "Signal": _number(exit_record.get("signal")),
        "OOMKilled": bool(exit_record.get("oom_killed")),
        "Error": str(exit_record.get("error") or ""),
        "StartedAt": _time(exit_record.get("started_at")) or state["StartedAt"],
        "FinishedAt": _time(exit_record.get("finished_at")) or clock.now(),
        "RanS": _duration(exit_record.get("ran_s")),
        "CpuNs": _number(exit_record.get("cpu_ns")),
        "MemoryPeakBytes": _number(exit_record.get("memory_peak_bytes")),
        "OOMKills": _number(exit_record.get("oom_kills")),
    }


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _duration(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _time(value: object) -> str:
    """A time as ``clock`` writes it, or nothing."""
    try:
        clock.parse_ns(str(value))
    except ValueError:
        return ""
    return str(value)


def lost(state: State) -> State:
    """The state after an exit that nobody saw: the host went down, or the monitor was killed."""
    return {
        **state,
        "Status": "exited",
        "Pid": 0,
        "StartTime": 0,
        "ExitCode": None,
        "Error": "exit code unknown: the container ended while nothing watched it",
        "FinishedAt": clock.now(),
        "RanS": None,
    }


def unrecorded(state: State, monitor_pid: int) -> State:
    """The state after an exit that a stopped monitor will tell of once it goes on."""
    error = f"exit code unknown: the monitor (pid {monitor_pid}) is stopped"
    return {**lost(state), "Error": error}


def _frozen(record: Record, state: State) -> State:
    paused = is_frozen(record.details.get("cgroup", {}))
    if paused is None or paused == (state["Status"] == "paused"):
        return state
    return cast("State", {**state, "Status": "paused" if paused else "running"})


def is_frozen(cgroup: dict[str, str]) -> bool | None:
    """Whether the freezer holds the container (cgroup-v1 freezer, cgroup-v2 cgroup.freeze)."""
    for controller, name, value in (
        ("freezer", "freezer.state", b"FROZEN"),
        ("unified", "cgroup.freeze", b"1"),
    ):
        if controller in cgroup:
            content = read_optional(f"{cgroup[controller]}/{name}")
            if content is not None:
                return content.strip() == value
    return None


def monitor_lives(context: Context, container_id: str) -> bool:
    """Whether the container's monitor holds its lock."""
    return is_locked(f"{context.state_dir(container_id)}/monitor.lock")


def is_live(state: State) -> bool:
    """Whether processes of the container exist: running or paused."""
    return state["Status"] in LIVE


def live_state(context: Context, record: Record, name: str, kind: str) -> State:
    """The state of a container whose namespace is shared. Raises Conflict if it does not run."""
    other = context.store.containers.get(context.resolve(name))
    if other.id == record.id:
        raise InvalidParameter(f"container {record.name} cannot join its own {kind} namespace")
    state = observe(context, other)
    if not is_live(state):
        raise Conflict(
            f"cannot join {kind} of a non running container: {name}",
            resolution=f"start {name} first",
        )
    if kind == "ipc" and other.host_config["IpcMode"] not in ("shareable", "host"):
        raise Conflict(
            f"cannot join ipc of container {name}: its IPC namespace is private",
            resolution=f"create {name} with --ipc shareable",
        )
    return state
