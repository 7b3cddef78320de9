"""What our rows may cost beside others' (DESIGN's budgets), and whether they did."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Budget(NamedTuple):
    """The most that one of our rows may be of others', by their names."""

    ours: str
    limits: Mapping[str, float]


class Verdict(NamedTuple):
    """One budget and what was measured."""

    what: str
    against: str
    value: float
    limit: float

    @property
    def met(self) -> str:
        """In words."""
        return "met" if self.value <= self.limit else "NOT MET"


_passed: list[Verdict] = []


def judge(what: str, against: str, value: float, limit: float) -> str:
    """Pass a verdict: its text for a table's cell. The summary shows it again."""
    verdict = Verdict(what, against, value, limit)
    _passed.append(verdict)
    return f"≤ {limit:g}: {verdict.met}"


def summary() -> Sequence[Sequence[str]]:
    """Every verdict of this run, as the lines of a table."""
    lines = [["", "against", "measured", "budget", ""], ["---"] * 5]
    for verdict in _passed:
        measured = f"{verdict.value:.2f}" if verdict.value % 1 else f"{verdict.value:g}"
        cells = [verdict.what, verdict.against, measured, f"≤ {verdict.limit:g}", verdict.met]
        lines.append(cells)
    return lines
