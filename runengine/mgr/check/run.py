"""Run every check, and the repairs if they are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.mgr.check import (
    cgroups,
    containers,
    images,
    mounts,
    networks,
    processes,
    records,
    volumes,
)
from runengine.mgr.check.world import Difference, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runengine.mgr.container.context import Context

    Check = Callable[[World], Iterator[Difference]]

# Containers first: one that ended and was not cleared away explains most of the rest. Then what
# runs, before what is mounted, before what is there.
SECTIONS: tuple[tuple[str, tuple[Check, ...]], ...] = (
    ("Records", records.CHECKS),
    ("Containers", containers.CHECKS),
    ("Processes", processes.CHECKS),
    ("Control groups", cgroups.CHECKS),
    ("Mounts", mounts.CHECKS),
    ("Files", containers.FILES),
    ("Networks", networks.CHECKS),
    ("Volumes", volumes.CHECKS),
    ("Images", images.CHECKS),
)
RECOVERED = ("Containers", "Processes", "Control groups", "Mounts", "Files", "Networks", "Volumes")
"""What a violent death can have left on the host."""
FOUND, REPAIRED, FAILED = "found", "repaired", "failed"


class Outcome(NamedTuple):
    """A difference, and what became of it."""

    section: str
    kind: str
    name: str
    what: str
    remedy: str
    state: str
    """``found``, ``repaired``, or ``failed``: the repair did."""
    error: str = ""


class Report(NamedTuple):
    """What a check found."""

    outcomes: list[Outcome]

    @property
    def is_clean(self) -> bool:
        """Whether nothing differs, or no longer."""
        return all(outcome.state == REPAIRED for outcome in self.outcomes)


def check(context: Context, *, repair: bool) -> Report:
    """Compare everything of the engine; with ``repair`` put right what can be put right."""
    found = [_section(context, title, repair=repair) for title, _ in SECTIONS]
    return Report([outcome for outcomes in found for outcome in outcomes])


def recover(context: Context) -> list[str]:
    """Put right what a violent death has left on the host; what could not be.

    For the start of the service: no layer or blob is looked at, and nobody's network is asked.
    """
    outcomes = [one for title in RECOVERED for one in _section(context, title, repair=True)]
    return [f"{one.kind} {one.name}: {one.error}" for one in outcomes if one.state == FAILED]


def _section(context: Context, title: str, *, repair: bool) -> list[Outcome]:
    checks = dict(SECTIONS)[title]
    outcomes: list[Outcome] = []
    world = World(context)
    for one in checks:
        if repair:
            world = World(context)
        found = _differences(one, world)
        outcomes += [_settled(title, each, repair=repair) for each in found]
    return outcomes


def _differences(one: Check, world: World) -> list[Difference]:
    """What a check finds; that it fails is a finding too, and never hides the others'."""
    found: list[Difference] = []
    try:
        found.extend(one(world))
    except Exception as error:  # noqa: BLE001 - a report with a hole is better than none
        name = one.__name__.replace("_", " ")
        words = str(error) or type(error).__name__
        found.append(Difference("check", name, f"cannot look: {words}", "put that right first"))
    return found


def _settled(section: str, found: Difference, *, repair: bool) -> Outcome:
    state, error = FOUND, ""
    if repair and found.repair is not None:
        try:
            found.repair()
            state = REPAIRED
        except Exception as caught:  # noqa: BLE001 - the others must have their turn
            state, error = FAILED, str(caught) or type(caught).__name__
    return Outcome(section, *found[:4], state, error)


def document(report: Report) -> dict[str, Any]:
    """The report as JSON has it."""
    return {
        "Clean": report.is_clean,
        "Differences": [
            {
                "Section": one.section,
                "Kind": one.kind,
                "Name": one.name,
                "What": one.what,
                "Remedy": one.remedy,
                "State": one.state,
                "Error": one.error,
            }
            for one in report.outcomes
        ],
    }
