"""``top``: the container's processes, by the host's ps, or by psutil where there is none."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Any

from runengine.errors import Conflict, InvalidParameter
from runengine.mgr.container import observe, pending

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.mgr.container.context import Context

PS_TIMEOUT_S = 20
TITLES = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]


def top(context: Context, name: str, ps_args: Sequence[str]) -> dict[str, Any]:
    """``{"Titles": [...], "Processes": [[...]]}`` of a running or paused container; host pids.

    ``ps_args`` (``-ef`` if empty) go to ps as they are, never through a shell. Raises Conflict,
    InvalidParameter if ps refuses them or prints no PID column.
    """
    from runengine.cgroups.layout import procs

    began_ns = time.monotonic_ns()
    record = context.store.containers.get(context.resolve(name))
    state = pending.look(context, record)
    pending.refuse_restarting(record, state)
    if not observe.is_live(state):
        raise Conflict(
            f"container {record.name} is not running or paused, cannot execute top command"
        )
    pids = set(procs(record.details["cgroup"]))
    arguments = [word for text in ps_args for word in text.split()] or ["-ef"]
    try:
        found = parse_ps(_run_ps(arguments), pids)
    except FileNotFoundError:
        found = _by_psutil(pids)
    context.events.container("top", record, began_ns=began_ns)
    return found


def _run_ps(arguments: list[str]) -> str:
    done = subprocess.run(
        ["ps", *arguments], capture_output=True, text=True, timeout=PS_TIMEOUT_S, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise InvalidParameter(f"ps {' '.join(arguments)}: {reason}")
    return done.stdout


def parse_ps(text: str, pids: set[int]) -> dict[str, Any]:
    """The rows of ps's output whose PID is in ``pids``; the last column takes the overflow."""
    lines = text.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidParameter("Couldn't find PID field in ps output")
    column = titles.index("PID")
    rows = []
    for line in lines[1:]:
        fields = line.split(maxsplit=len(titles) - 1)
        if len(fields) > column and fields[column].isdigit() and int(fields[column]) in pids:
            rows.append(fields)
    return {"Titles": titles, "Processes": rows}


def _by_psutil(pids: set[int]) -> dict[str, Any]:
    """What ``ps -ef`` shows, for hosts without ps."""
    import psutil

    rows = []
    for pid in sorted(pids):
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                seconds = int(sum(process.cpu_times()[:2]))
                rows.append(
                    [
                        process.username(),
                        str(pid),
                        str(process.ppid()),
                        "0",
                        time.strftime("%H:%M", time.localtime(process.create_time())),
                        (process.terminal() or "?").removeprefix("/dev/"),
                        time.strftime("%H:%M:%S", time.gmtime(seconds)),
                        " ".join(process.cmdline()) or f"[{process.name()}]",
                    ]
                )
        except psutil.Error:
            continue
    return {"Titles": TITLES, "Processes": rows}
