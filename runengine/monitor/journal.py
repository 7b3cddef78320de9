"""What the monitor writes into the journal of events, and the shape of every message there.

The monitor writes down what it is the first to know: its lines come in the order in which things
happened, and before anybody is told.
"""

from __future__ import annotations

import time

from runengine.linux.appending import append_line
from runengine.monitor import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runengine.monitor.protocol import Job

LIMIT_BYTES = 16 << 20
"""Size at which the journal is turned over; one older file is kept."""


def message(
    kind: str, action: str, actor: str, attributes: dict[str, str], *, began_ns: int | None = None
) -> dict[str, Any]:
    """Docker's event message (Docker Engine API, "Monitor events"), of now.

    ``began_ns`` is when the action began on the monotonic clock: ``tookNs`` is private to us.
    """
    now_ns = time.time_ns()
    document: dict[str, Any] = {"status": action, "id": actor}
    if kind == "container":
        document["from"] = attributes.get("image", "")
    document |= {
        "Type": kind,
        "Action": action,
        "Actor": {"ID": actor, "Attributes": attributes},
        "scope": "local",
        "time": now_ns // 1_000_000_000,
        "timeNano": now_ns,
    }
    if began_ns is not None:
        document["tookNs"] = time.monotonic_ns() - began_ns
    return document


def append(path: str, *documents: dict[str, Any]) -> None:
    """Write messages down at once; a full or broken disk costs the lines and nothing else."""
    try:
        append_line(path, b"".join(wire.dumps(one) + b"\n" for one in documents), LIMIT_BYTES)
    except OSError:
        return


def note(job: Job, action: str, extra: dict[str, str], *, began_ns: int | None = None) -> None:
    """Write down an event of the monitor's container; never raises."""
    events = job.get("events")
    if events:
        attributes = {**events["attributes"], **extra}
        append(
            events["path"],
            message("container", action, job["id"], attributes, began_ns=began_ns),
        )


def started(job: Job, *, attached: bool) -> None:
    """The container runs; whoever started it is attached to it or not."""
    if attached:
        note(job, "attach", {})
    note(job, "start", {}, began_ns=(job.get("events") or {}).get("began_ns"))


def ended(job: Job, record: dict[str, Any], ran_s: float) -> None:
    """The container's run is over; ``record`` is its ExitRecord."""
    if record["oom_killed"]:
        note(job, "oom", {})
    extra = {"exitCode": str(record["exit_code"]), "execDuration": str(int(ran_s))}
    if record["signal"]:
        extra["signal"] = str(record["signal"])
    if record["oom_killed"]:
        extra["oomKilled"] = "true"
    note(job, "die", extra)
    events = job.get("events") or {}
    let_go = [
        message("volume", "unmount", name, {"container": job["id"], "driver": driver})
        for name, driver in events.get("volumes", ())
    ]
    if let_go:
        append(events["path"], *let_go)


def resized(job: Job, rows: int, columns: int) -> None:
    """The container's terminal has another size."""
    note(job, "resize", {"height": str(rows), "width": str(columns)})


def exec_started(job: Job, request: dict[str, Any]) -> None:
    """A process was started inside, as ``request`` (an ExecRequest) asked for."""
    command = " ".join(request["process"].get("args", ()))
    extra = {"execID": str(request["exec_id"])}
    note(job, f"exec_start: {command}", extra, began_ns=request.get("began_ns"))


def exec_ended(job: Job, session_id: str, exit_code: int | None) -> None:
    """A process that was started inside has ended."""
    note(job, "exec_die", {"execID": session_id, "exitCode": str(exit_code)})


def detached(job: Job, session_id: str | None) -> None:
    """A client left the container's streams, or those of an exec session."""
    if session_id is None:
        note(job, "detach", {})
    else:
        note(job, "exec_detach", {"execID": session_id})
