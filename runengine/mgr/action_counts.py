"""Counts of what happened, from the journal: actions, how long they took, how containers ended."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""From an event that is only written down to a pull of gigabytes."""
MAX_ACTIONS = 100
"""Kinds of actions told apart; we know some forty, more come from a damaged journal only."""
UNKNOWN = "unknown"
_SECOND_NS = 1_000_000_000


class Action(NamedTuple):
    """What the labels say: ``container`` and ``start``."""

    type: str
    action: str


OTHER = Action("other", "other")


class Histogram:
    """Durations by the bounds that they do not exceed."""

    __slots__ = ("_counts", "sum_s")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect.bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Bound and number of durations up to it, Prometheus' cumulative way."""
        total, found = 0, []
        for bound, count in zip((*BOUNDS_S, None), self._counts, strict=True):
            total += count
            found.append(("+Inf" if bound is None else str(bound), float(total)))
        return found


class ActionCounts:
    """Totals since this object was made."""

    def __init__(self) -> None:
        self.actions: dict[Action, int] = {}
        self.durations: dict[Action, Histogram] = {}
        self.exits: dict[str, int] = {}
        self.gaps = 0
        """How often messages were lost because nobody looked for too long."""

    def update(self, messages: Iterable[Mapping[str, Any] | None]) -> None:
        """Count messages of the journal; None stands for some that are lost."""
        for message in messages:
            if message is None:
                self.gaps += 1
            else:
                self._count(message)

    def _count(self, message: Mapping[str, Any]) -> None:
        action = self._action(message)
        self.actions[action] = self.actions.get(action, 0) + 1
        took_ns = message.get("tookNs")
        if type(took_ns) is int and took_ns >= 0:
            self.durations.setdefault(action, Histogram()).observe(took_ns / _SECOND_NS)
        if action == ("container", "die"):
            code = exit_label(message["Actor"]["Attributes"].get("exitCode", ""))
            self.exits[code] = self.exits.get(code, 0) + 1

    def _action(self, message: Mapping[str, Any]) -> Action:
        # "exec_start: sh -c ..." and "health_status: healthy" say more than a label should.
        action = Action(message["Type"], message["Action"].partition(":")[0])
        known = action in self.actions or len(self.actions) < MAX_ACTIONS
        return action if known else OTHER


def exit_label(code: str) -> str:
    """An exit code as a label: 0 to 255, or ``unknown``."""
    is_code = code.isascii() and code.isdigit() and len(code) <= 3 and int(code) <= 255
    return str(int(code)) if is_code else UNKNOWN
