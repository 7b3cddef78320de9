"""Timing side by side: every engine in turn, many rounds, medians and ratios.

These machines are noisy, so a figure alone says little: engines are run interleaved, in a new
order each round, and compared with what ran beside them. CPU time includes the daemons' (``cpu``),
because an engine's work happens there as well. Tables are Markdown, to be kept.
"""

from __future__ import annotations

import math
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from scripts.bench.cpu import cpu_seconds, scope
from scripts.bench.ending import held
from scripts.bench.verdicts import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scripts.bench.verdicts import Budget

AFTERMATH_S = 0.15
"""Whoever answers first and clears up then must not leave that to the next one's time."""


class Sample(NamedTuple):
    """One timed call."""

    wall_s: float
    cpu_s: float


def check_run(argv: Sequence[str], **options: object) -> str:
    """Run a command that must succeed; returns its output. Exits with its error otherwise."""
    with held():
        done = subprocess.run(list(argv), capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"bench: {' '.join(argv)} failed ({done.returncode}): {done.stderr.strip()}")
    return str(done.stdout)


def timed(action: Callable[[], object]) -> Sample:
    """Call once; wall time, and CPU time until the engine has done what it does afterwards."""
    cpu, start = cpu_seconds(), time.perf_counter()
    action()
    wall = time.perf_counter() - start
    time.sleep(AFTERMATH_S)
    return Sample(wall, cpu_seconds() - cpu)


def interleave(
    actions: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    undo: Mapping[str, Callable[[], object]] | None = None,
    warm_up: int = 2,
) -> dict[str, list[Sample]]:
    """Call every action once a round, in a new random order each time.

    ``undo`` puts right what an action changed, for the next round; that is not timed.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in actions}
    for number in range(rounds + warm_up):
        order = list(actions)
        random.shuffle(order)
        for name in order:
            sample = timed(actions[name])
            if undo is not None:
                undo[name]()
            if number >= warm_up:
                samples[name].append(sample)
    return samples


def report(
    title: str, samples: Mapping[str, Sequence[Sample]], budgets: Sequence[Budget] = ()
) -> None:
    """Print medians, and for each of our rows its ratio to the others, with the verdict."""
    budgets = [budget for budget in budgets if budget.ours in samples]
    taken = len(next(iter(samples.values())))
    print(f"\n### {title}\n\n{taken} rounds, interleaved; {host_facts()}; CPU {scope()}\n")
    head = ["", "wall ms", "min", "p99", "CPU ms", *(f"{b.ours} / it" for b in budgets)]
    lines = [head, ["---"] * len(head)]
    for name, row in samples.items():
        walls = [sample.wall_s * 1000 for sample in row]
        cpu_ms = middle_cpu(row) * 1000
        cells = [middle(row) * 1000, min(walls), quantile(walls, 0.99), cpu_ms]
        ratios = [compared(title, budget, name, samples) for budget in budgets]
        lines.append([name, *(f"{cell:.1f}" for cell in cells), *ratios])
    print_table(lines)


def print_table(lines: Sequence[Sequence[str]]) -> None:
    """A Markdown table with its columns in line."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print(f"| {' | '.join(cells)} |", flush=True)


def compared(
    title: str, budget: Budget, name: str, samples: Mapping[str, Sequence[Sample]]
) -> str:
    """Our ratio to a row, and whether it is within the budget."""
    if name == budget.ours:
        return ""
    ratio = middle(samples[budget.ours]) / middle(samples[name])
    limit = budget.limits.get(name)
    if limit is None:
        return f"{ratio:.2f}"
    verdict = judge(f"{budget.ours}: {title}", name, ratio, limit)
    return f"{ratio:.2f} ({verdict})"


def middle(samples: Sequence[Sample]) -> float:
    """Median wall time, s."""
    return statistics.median(sample.wall_s for sample in samples)


def middle_cpu(samples: Sequence[Sample]) -> float:
    """Median CPU time, s."""
    return statistics.median(sample.cpu_s for sample in samples)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of all do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


_engines: list[str] = []


def name_engines(versions: Sequence[str]) -> None:
    """Say with every table from now on who was compared with."""
    _engines[:] = versions


def host_facts() -> str:
    """What a reader must know of the machine, and of the engines on it."""
    machine = [f"{os.cpu_count()} CPUs", f"governor {governor()}", f"kernel {os.uname().release}"]
    return ", ".join([*machine, f"load {os.getloadavg()[0]:.1f}", *_engines])


def governor() -> str:
    """How the clock is chosen; a virtual machine does not know."""
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return "unknown"
