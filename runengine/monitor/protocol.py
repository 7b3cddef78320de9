"""Types of what travels between the engine and a monitor. The monitor itself never loads this.

Requests (client to monitor, control frames):

``{"op": "run", "job": Job, "attach": {...} | null}``
    on the control socket only, once, with the container's lock as a descriptor. Answers:
    ``started`` or ``error``, later ``exit``.
``{"op": "give-up"}``
    end what has been started, or is being started. No answer.
``{"op": "take-over"}``
    on the control socket after ``exit``: the caller does the teardown. Answer: ``taken``; without
    an answer (end of file) the monitor has done it or is doing it.
``{"op": "attach", "stdin": b, "stdout": b, "stderr": b}``
    answer ``attached``, then output frames, then ``exit``.
``{"op": "exec", "exec_id": s, "process": {...}, "detach": b, "stdin": b, "stdout": b, ...}``
    answer ``started`` or ``error``; unless detached then output frames and ``exit``.
``{"op": "resize", "rows": n, "cols": n, "exec_id": s?}``
    on an attached connection (of that session; no answer), or alone (``ok`` or ``error``).
``{"op": "wait", "exec_id": s?}`` → ``exit``; ``{"op": "status"}`` → ``status``;
``{"op": "update", "changes": {key: value}}``
    the job's ``events``, ``on_exit``, ``pinned``, ``restart`` from now on; ``ok`` or ``error``.
``{"op": "detach"}``
    leave without closing the container's standard input.

``{"op": "pend", "state_dir": s, "command": [...], "delay_s": n}``
    on the control socket instead of ``run``: only wait, then run the command. Answer: ``pending``.

Events (monitor to client): ``{"event": "started" | "attached" | "exit" | "error" | "ok" |
"status" | "taken", ...}``. ``exit`` of a container has ``exit`` (an ExitRecord), ``exit`` of an
exec session ``exit_code`` and ``signal``. ``error`` has ``kind`` (a class of runengine.errors),
``brief`` and ``details``.

Annotations are values here, as in ``model``.
"""

from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

from runengine.monitor.wire import (
    CONTROL,
    EXIT_NAME,
    INIT_NAME,
    LOCK_NAME,
    RESTART_NAME,
    SOCKET_NAME,
    STDERR,
    STDIN,
    STDOUT,
)

__all__ = [
    "CONTROL",
    "EXIT_NAME",
    "INIT_NAME",
    "LOCK_NAME",
    "RESTART_NAME",
    "SOCKET_NAME",
    "STDERR",
    "STDIN",
    "STDOUT",
    "AttachOptions",
    "ExecRequest",
    "ExitRecord",
    "HealthSpec",
    "InitRecord",
    "Job",
    "LogSpec",
    "Restart",
    "Restore",
]

LogDriver = Literal["json-file", "cri", "journald", "none"]


class Restart(TypedDict):
    """When the command that decides on a restart is run."""

    delay_s: float
    """After an exit; after a long run it is the first delay again."""
    only_failure: bool
    """Not after exit code 0."""


class LogSpec(TypedDict):
    """Where and how output is logged."""

    driver: str
    path: str
    max_size: int
    """Bytes per file; 0 is unlimited."""
    max_file: int
    attrs: dict[str, str]
    compress: NotRequired[bool]
    """The files that are rotated away, by gzip."""
    mode: NotRequired[Literal["non-blocking"]]
    """Output that the log does not take in time is dropped and counted."""
    buffer_bytes: NotRequired[int]
    """How much may wait for a log that is slow; of journald always, else with that mode."""
    fields: NotRequired[dict[str, str]]
    """What stands in each record of the journal."""


class HealthSpec(TypedDict):
    """A health check, with Docker's defaults filled in."""

    process: dict[str, Any]
    """Process object of the runtime spec (config.md#process)."""
    interval_s: float
    timeout_s: float
    timeout_text: str
    """The same as Docker writes it, such as ``1m30s``."""
    retries: int
    start_period_s: float
    start_interval_s: float
    path: str
    """Where the results go: Docker's ``State.Health``."""


class Restore(TypedDict):
    """The processes of a checkpoint, to be started instead of the program."""

    images: str
    """Directory that CRIU has written."""
    work: str
    """Directory for its log."""
    settings: str
    """File with what it is told besides."""
    options: list[str]
    """Of the runtime's ``restore``."""


class Job(TypedDict):
    """Everything that a monitor must know about its container."""

    id: str
    state_dir: str
    """Volatile directory: monitor.sock, monitor.lock, init.json, runc's log."""
    data_dir: str
    """Persistent directory: exit.json."""
    bundle: str
    runtime: list[str]
    """Start of every runtime command line, with ``--root``."""
    terminal: bool
    console_size: list[int] | None
    """Rows and columns."""
    open_stdin: bool
    stdin_once: bool
    log: LogSpec
    cgroup: dict[str, str]
    """Controller to absolute directory, or ``{"unified": directory}``."""
    runtime_dir: str | None
    """Where the runtime keeps its state of the container, if removing that and the cgroup is all
    that its ``delete`` would do; None: it has to be asked."""
    merged: str | None
    """Overlay mount to unmount after exit."""
    pinned: NotRequired[list[int]]
    """CPUs of its own: those count then, and not where the caller may run."""
    exec_cpus: NotRequired[list[int] | None]
    """Where the runtime begins, and with it what it adds to the container, if nobody says else."""
    checkpoint: NotRequired[Restore | None]
    """None, or left out: the program begins anew."""
    on_exit: list[str] | None
    """Command that does the teardown when nobody took it over."""
    drain_timeout_s: float
    restart: NotRequired[Restart | None]
    """None: no exit is a reason to start again."""
    events: NotRequired[dict[str, Any]]
    """``path`` of the journal, the ``attributes`` of each event, ``began_ns``, when the start
    began on the monotonic clock, name and driver of the ``volumes``; left out: no events."""
    health: NotRequired[HealthSpec | None]
    """None, or left out: no health check, and none of its code in the monitor."""


class ExitRecord(TypedDict):
    """How a container ended; content of exit.json. None is unknown."""

    exit_code: int | None
    signal: int | None
    oom_killed: bool
    oom_kills: int | None
    """How many of its processes the kernel killed for want of memory."""
    pid: int
    started_at: str
    """RFC 3339 with nanoseconds, UTC, as ``finished_at``."""
    finished_at: str
    ran_s: float
    """By the monotonic clock, which nobody sets."""
    cpu_ns: int | None
    memory_peak_bytes: int | None
    error: str


class InitRecord(TypedDict):
    """Content of init.json: identity of the container's init and of its monitor."""

    pid: int
    start_time: int
    """Clock ticks since boot (proc_pid_stat(5), field 22)."""
    started_at: str
    monitor_pid: int
    monitor_start_time: int


class ExecRequest(TypedDict, total=False):
    """What Connection.exec sends."""

    exec_id: str
    process: dict[str, Any]
    """Process object of the runtime spec (config.md#process), with ``terminal``."""
    detach: bool
    stdin: bool
    stdout: bool
    stderr: bool
    console_size: list[int] | None
    cpus: list[int] | None
    """Where the runtime begins, and with it the process."""
    began_ns: int
    """When the caller began, on the monotonic clock."""


class AttachOptions(NamedTuple):
    """Which streams a client wants; detach keys are looked for by the client."""

    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    detach_keys: bytes | None = None
