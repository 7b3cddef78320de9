"""``top``: the container's processes, by the host's ps, or by psutil where there is none."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Any

from runengine.errors import Conflict, InvalidParameter, TimedOut
from runengine.mgr.container import observe, pending

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.mgr.container.context import Context

PS_TIMEOUT_S = 20
DEFAULT = "-ef"
QUICK_LIMIT = 1000
"""Processes up to which ps is told whom to look at, which spares it a walk through all."""
_WITH_SPACES = frozenset({"CMD", "COMMAND", "STARTED"})
"""Titles of columns whose values may have several words."""


def top(context: Context, name: str, ps_args: Sequence[str]) -> dict[str, Any]:
    """``{"Titles": [...], "Processes": [[...]]}`` of a running or paused container; host pids.

    ``ps_args`` (``-ef`` if empty) go to ps as they are, never through a shell; without a ps psutil
    serves the usual ones. Raises Conflict, InvalidParameter if they are refused or show no PID.
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
    arguments = [word for text in ps_args for word in text.split()] or [DEFAULT]
    found = show(arguments, pids)
    context.events.container("top", record, began_ns=began_ns)
    return found


def show(arguments: list[str], pids: set[int]) -> dict[str, Any]:
    """Titles and rows of these processes, as ps prints them."""
    try:
        return parse_ps(_run_ps(arguments, pids), pids)
    except FileNotFoundError:
        from runengine.mgr.container import ps_columns, ps_options

        return _with_pid(ps_columns.table(pids, ps_options.columns(arguments)))


def _run_ps(arguments: list[str], pids: set[int]) -> str:
    """What ps prints of these processes, or, where it cannot be told of some, of all."""
    if 0 < len(pids) <= QUICK_LIMIT:
        # Refused beside options that sort or select.
        quick = _ps([*arguments, f"-q{','.join(map(str, sorted(pids)))}"])
        if quick.returncode == 0:
            return quick.stdout
    done = _ps(arguments)
    # It fails as well where it has found nothing, and has titles to show and nothing to say then.
    if done.returncode and (done.stderr or not done.stdout):
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise InvalidParameter(f"ps {' '.join(arguments)}: {reason}")
    return done.stdout


def _ps(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["ps", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PS_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimedOut(
            f"ps {' '.join(arguments)} did not finish within {PS_TIMEOUT_S} s",
            resolution="a process of the host may hang in the kernel; see dmesg",
        ) from None


def parse_ps(text: str, pids: set[int]) -> dict[str, Any]:
    """The rows of ps's output whose PID is in ``pids``, and those of their threads (``-m``).

    The last column takes the overflow; the first does if several words come before the PID.
    """
    lines = text.splitlines()
    titles = lines[0].split() if lines else []
    _with_pid({"Titles": titles})
    column = titles.index("PID")
    split = str.split if _WITH_SPACES.isdisjoint(titles[:column]) else str.rsplit
    rows, inside = [], False
    for line in lines[1:]:
        fields = split(line, maxsplit=len(titles) - 1)
        pid = fields[column] if len(fields) > column else ""
        if pid != "-":
            inside = pid.isdigit() and int(pid) in pids
        if inside:
            rows.append(fields)
    return {"Titles": titles, "Processes": rows}


def _with_pid(found: dict[str, Any]) -> dict[str, Any]:
    if "PID" not in found["Titles"]:
        raise InvalidParameter(
            "Couldn't find PID field in ps output", resolution="show it too: -o pid,..."
        )
    return found
