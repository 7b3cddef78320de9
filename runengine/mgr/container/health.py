"""Health checks from the engine's side: what the monitor is told, and what it has found."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runengine.linux.fsatomic import read_optional
from runengine.mgr.container import observe
from runengine.store.containers import NEVER

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context
    from runengine.model import ContainerConfig
    from runengine.monitor.protocol import HealthSpec
    from runengine.store.containers import Record, State

NONE, STARTING, UNHEALTHY = "none", "starting", "unhealthy"
STATES = (STARTING, "healthy", UNHEALTHY)
SECOND_NS = 1_000_000_000
# What a configuration leaves open (Docker's reference, Dockerfile HEALTHCHECK).
DEFAULT_INTERVAL_NS = 30 * SECOND_NS
DEFAULT_TIMEOUT_NS = 30 * SECOND_NS
DEFAULT_START_INTERVAL_NS = 5 * SECOND_NS
DEFAULT_RETRIES = 3
DEFAULT_SHELL = ("/bin/sh", "-c")


def command(config: ContainerConfig) -> list[str] | None:
    """The probe's command line; None without a health check, or with one of an unknown kind."""
    check = config.get("Healthcheck")
    test = (check or {}).get("Test") or ["NONE"]
    if test[0] == "CMD":
        return list(test[1:])
    if test[0] == "CMD-SHELL":
        return [*(config.get("Shell") or DEFAULT_SHELL), *test[1:]]
    return None


def prepare(context: Context, record: Record, spec: dict[str, Any]) -> HealthSpec | None:
    """The monitor's orders for this run; what the last run found is forgotten.

    A probe runs as the container's own process would: its user, environment, directory and
    protections are those of ``spec``.
    """
    path = _path(context, record.id)
    with suppress(FileNotFoundError):
        os.unlink(path)
    words = command(record.config)
    if words is None:
        return None
    check = record.config["Healthcheck"] or {}
    timeout_ns = check.get("Timeout") or DEFAULT_TIMEOUT_NS
    return {
        "process": {**spec["process"], "terminal": False, "args": words},
        "interval_s": (check.get("Interval") or DEFAULT_INTERVAL_NS) / SECOND_NS,
        "timeout_s": timeout_ns / SECOND_NS,
        "timeout_text": duration_text(timeout_ns),
        "retries": check.get("Retries") or DEFAULT_RETRIES,
        "start_period_s": (check.get("StartPeriod") or 0) / SECOND_NS,
        "start_interval_s": (check.get("StartInterval") or DEFAULT_START_INTERVAL_NS) / SECOND_NS,
        "path": path,
    }


def _path(context: Context, container_id: str) -> str:
    return f"{context.state_dir(container_id)}/health.json"


def document(context: Context, record: Record, state: State) -> dict[str, Any] | None:
    """Docker's ``State.Health``; None without a health check, or before the first start.

    As with Docker a container that nobody probes is unhealthy: it has ended, or its monitor died.
    """
    if command(record.config) is None or state["StartedAt"] == NEVER:
        return None
    found: dict[str, Any] = {"Status": STARTING, "FailingStreak": 0, "Log": []}
    with suppress(OSError, ValueError):
        seen = json.loads(read_optional(_path(context, record.id)) or b"{}")
        if isinstance(seen, dict) and seen.get("Status") in STATES:
            found.update(seen)
    if not (observe.is_live(state) and observe.monitor_lives(context, record.id)):
        found["Status"] = UNHEALTHY
    return found


def status(context: Context, record: Record, state: State) -> str:
    """``starting``, ``healthy``, ``unhealthy``, or ``none`` without a health check."""
    found = document(context, record, state)
    return NONE if found is None else str(found["Status"])


def duration_text(ns: int) -> str:
    """A duration as Go writes it: ``1h2m3.5s``, ``100ms``, ``1.5µs``."""
    if ns < SECOND_NS:
        for size, unit in ((1_000_000, "ms"), (1000, "µs")):
            if ns >= size:
                return _decimal(ns, size) + unit
        return f"{ns}ns" if ns else "0s"
    minutes, rest = divmod(ns, 60 * SECOND_NS)
    hours, minutes = divmod(minutes, 60)
    text = _decimal(rest, SECOND_NS) + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _decimal(number: int, unit: int) -> str:
    whole, rest = divmod(number, unit)
    fraction = str(rest).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)
