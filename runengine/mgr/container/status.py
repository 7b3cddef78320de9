"""The words of ``ps``: how a container is, and for how long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runengine.linux import clock

if TYPE_CHECKING:
    from runengine.store.containers import State

_UNITS = (  # seconds of one, the least number of seconds to say it, the word
    (365 * 86400, 2 * 365 * 86400, "year"),
    (30 * 86400, 60 * 86400, "month"),
    (7 * 86400, 14 * 86400, "week"),
    (86400, 48 * 3600, "day"),
)

_HEALTH = {
    "none": "",
    "starting": " (health: starting)",
    "healthy": " (healthy)",
    "unhealthy": " (unhealthy)",
}


def human_duration(seconds: float) -> str:
    """A duration as Docker words it: ``3 seconds``, ``About an hour``, ``2 weeks``.

    A negative one (the clock was set back) counts as nothing.
    """
    whole = max(0, int(seconds))
    for size, least, word in _UNITS:
        if whole >= least:
            return f"{whole // size} {word}s"
    return _under_two_days(whole)


def _under_two_days(whole: int) -> str:
    minutes, hours = whole // 60, (whole + 1800) // 3600
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    return "About an hour" if hours == 1 else f"{hours} hours"


def since(timestamp: str) -> float:
    """Seconds from a stored timestamp to now."""
    return time.time() - clock.parse_ns(timestamp) / 1e9


def describe(state: State, health: str = "none") -> str:
    """Docker's STATUS column, such as ``Up 3 seconds`` or ``Exited (0) 2 minutes ago``.

    ``health`` is a running container's: ``starting``, ``healthy``, ``unhealthy`` or ``none``.
    """
    status = state["Status"]
    if status in ("running", "paused"):
        up = f"Up {human_duration(since(state['StartedAt']))}"
        return f"{up} (Paused)" if status == "paused" else up + _HEALTH[health]
    if status in ("exited", "restarting"):
        code = "unknown" if state["ExitCode"] is None else state["ExitCode"]
        return f"{status.capitalize()} ({code}) {human_duration(since(state['FinishedAt']))} ago"
    return {"removing": "Removal In Progress"}.get(status, status.capitalize())
