"""Volumes: what twenty of them cost a start, and making, showing and removing them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from scripts.bench.harness import (
    Sample,
    interleave,
    middle,
    middle_cpu,
    print_table,
    report,
)
from scripts.bench.peers import COLD, IMAGE, WARM
from scripts.bench.verdicts import Budget, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scripts.bench.bench import Bench
    from scripts.bench.peers import Peer

    Actions = dict[str, Callable[[], object]]

VOLUMES = 20
LIMIT_MS = 5.0
KEPT = [word for n in range(VOLUMES) for word in ("-v", f"bench{n}:/mnt/{n}")]
"""Named ones, which are there already: what a start costs, not what making them does."""
ANONYMOUS = [word for n in range(VOLUMES) for word in ("-v", f"/mnt/{n}")]
COMPARED = (Budget(WARM, {}), Budget(COLD, {}))


def measure(bench: Bench) -> None:
    """Measure starts, then the commands of volumes."""
    rounds = bench.choose(30, 5)
    measure_runs(bench, rounds)
    measure_commands(bench, bench.choose(20, 3))


def measure_runs(bench: Bench, rounds: int) -> None:
    """``run --rm`` without volumes, with twenty that are there, and with twenty that are new."""
    for peer in bench.found.values():
        peer.run("run", "--rm", "--network", "none", *KEPT, IMAGE, "true")
    kinds = {"": [], ", 20 volumes": KEPT, ", 20 new ones": ANONYMOUS}
    actions: Actions = {
        f"{peer.name}{kind}": _run(peer, *flags)
        for peer in bench.found.values()
        for kind, flags in kinds.items()
    }
    samples = interleave(actions, rounds)
    report(f"run --rm … true, {VOLUMES} volumes", samples)
    _report_cost(bench, samples)
    _clear(bench)


def _run(peer: Peer, *flags: str) -> Callable[[], object]:
    return partial(peer.run, "run", "--rm", "--network", "none", *flags, IMAGE, "true")


def _report_cost(bench: Bench, samples: Mapping[str, Sequence[Sample]]) -> None:
    """What the volumes add, in wall and CPU time."""
    lines = [["", "20 volumes add, ms", "CPU ms", "20 new ones add, ms", "CPU ms"], ["---"] * 5]
    for name in bench.found:
        bare, kept, new = (
            samples[f"{name}{kind}"] for kind in ("", ", 20 volumes", ", 20 new ones")
        )
        cost_ms = (middle(kept) - middle(bare)) * 1000
        cells = [cost_ms, (middle_cpu(kept) - middle_cpu(bare)) * 1000]
        cells += [(middle(new) - middle(bare)) * 1000, (middle_cpu(new) - middle_cpu(bare)) * 1000]
        lines.append([name, *(f"{cell:.1f}" for cell in cells)])
        if name in (WARM, COLD):
            judge(f"{name}: {VOLUMES} volumes, cost in ms", "none", cost_ms, LIMIT_MS)
    print()
    print_table(lines)


def measure_commands(bench: Bench, rounds: int) -> None:
    """Making and removing one, and a list of two hundred."""
    create: Actions = {peer.name: partial(_make_and_remove, peer) for peer in bench.found.values()}
    report("volume create, volume rm", interleave(create, rounds), COMPARED)
    for peer in bench.found.values():
        if peer.name != WARM:  # they have the same volumes
            for number in range(200):
                peer.run("volume", "create", f"many{number}")
    listing: Actions = {
        peer.name: partial(peer.run, "volume", "ls") for peer in bench.found.values()
    }
    report("volume ls of 200", interleave(listing, rounds), COMPARED)
    _clear(bench)


def _make_and_remove(peer: Peer) -> None:
    peer.run("volume", "create", "one")
    peer.run("volume", "rm", "one")


def _clear(bench: Bench) -> None:
    """Remove every volume."""
    for peer in bench.found.values():
        names = peer.run("volume", "ls", "-q").split()
        if names:
            peer.run("volume", "rm", *names)
