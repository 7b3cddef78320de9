"""What idle containers cost: memory of monitors and services after real work, and wake-ups."""

from __future__ import annotations

import statistics
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from scripts.bench.harness import host_facts, print_table
from scripts.bench.peers import IMAGE, WARM, Peer
from scripts.bench.processes import GONE, family, parent_of
from scripts.bench.verdicts import judge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scripts.bench.bench import Bench

CONTAINERS = 8
QUICK = 3
IDLE_S = 10
LINES = 2000
SETTLING_S = 7
"""Longer than our service keeps the workers that it needs no more."""
WORK = f"i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); done; sleep 100000"
MONITOR_LIMIT_MIB = 1.5
SERVICE_LIMIT_MIB = 60.0


class Standing(NamedTuple):
    """The processes of one engine that stay while its containers idle."""

    monitors: list[int]
    service: list[int]


def measure(bench: Bench) -> None:
    """Look at the services alone; then start containers, let them work, and look at all idle."""
    time.sleep(SETTLING_S)
    alone = {peer.name: weigh(family(peer.daemon)) for peer in bench.found.values() if peer.daemon}
    count = bench.choose(CONTAINERS, QUICK)
    standing = {peer.name: begin(peer, count) for peer in bench.found.values()}
    time.sleep(SETTLING_S)
    wakeups = idle(standing)
    publish_monitors(standing, wakeups)
    publish_services(alone, wakeups)
    bench.clear()


def begin(peer: Peer, count: int) -> Standing:
    """Containers that have written their lines and had an exec."""
    argv = ("run", "-d", "--network", "none", IMAGE, "sh", "-c", WORK)
    names = [peer.run(*argv).strip() for _ in range(count)]
    for name in names:
        while len(peer.run("logs", name).splitlines()) < LINES:
            time.sleep(0.05)
        peer.run("exec", name, "true")
    inits = [int(peer.run("inspect", "-f", "{{.State.Pid}}", name)) for name in names]
    monitors = [parent_of(pid) for pid in inits]
    apart = {*monitors, *inits}
    service = [pid for pid in family(peer.daemon) if pid not in apart] if peer.daemon else []
    return Standing(monitors, service)


def idle(standing: dict[str, Standing]) -> dict[str, tuple[int, int]]:
    """Times that monitors and service of each engine were switched in while nothing went on."""
    pids = {pid for one in standing.values() for pid in (*one.monitors, *one.service)}
    before = {pid: switches(pid) for pid in pids}
    time.sleep(IDLE_S)
    # A waiting worker that gave way to the next one meanwhile counts no more.
    during = {pid: max(0, switches(pid) - before[pid]) for pid in pids}
    return {
        name: (total(during, one.monitors), total(during, one.service))
        for name, one in standing.items()
    }


def total(figures: dict[int, int], pids: Iterable[int]) -> int:
    """The sum over some processes."""
    return sum(figures[pid] for pid in set(pids))


def switches(pid: int) -> int:
    """Context switches of all threads, by their own will and against it (proc_pid_status(5))."""
    count = 0
    for task in Path("/proc").glob(f"{pid}/task/*"):
        with suppress(*GONE):
            for line in (task / "status").read_text().splitlines():
                if "voluntary_ctxt_switches" in line:
                    count += int(line.split()[1])
    return count


def smaps(pid: int) -> dict[str, float]:
    """MiB by kind; nothing of a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except GONE:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}


def publish_monitors(
    standing: dict[str, Standing], wakeups: dict[str, tuple[int, int]]
) -> None:
    """What watches one container, in the median."""
    count = len(next(iter(standing.values())).monitors)
    title = f"one monitor after {LINES} lines and an exec"
    print(f"\n### {title}\n")
    print(f"Medians of {count}; wake-ups of all {count} in {IDLE_S} s; {host_facts()}\n")
    lines = [["", "private dirty MiB", "private clean", "PSS", "wake-ups"], ["---"] * 5]
    for name, one in standing.items():
        figures = [smaps(pid) for pid in one.monitors]
        dirty, clean, pss = (
            statistics.median(figure[key] for figure in figures)
            for key in ("Private_Dirty", "Private_Clean", "Pss")
        )
        cell = f"{dirty:.2f}"
        if name == WARM:
            cell += f" ({judge(f'{title}: private dirty MiB', '', dirty, MONITOR_LIMIT_MIB)})"
        lines.append([name, cell, f"{clean:.2f}", f"{pss:.2f}", woken(name, wakeups[name][0])])
    print_table(lines)


class Weight(NamedTuple):
    """Memory of some processes, MiB."""

    processes: int
    pss: float
    dirty: float


def weigh(pids: list[int]) -> Weight:
    """All together: what they share counts once."""
    figures = [figure for figure in map(smaps, pids) if figure]
    pss, dirty = (sum(figure[key] for figure in figures) for key in ("Pss", "Private_Dirty"))
    return Weight(len(figures), pss, dirty)


def publish_services(alone: dict[str, Weight], wakeups: dict[str, tuple[int, int]]) -> None:
    """What stays whether there are containers or not.

    Weighed without any: memory that monitors share with the service would be less of it.
    """
    print("\n### The service, without containers\n")
    lines = [["", "processes", "PSS MiB", "private dirty", "wake-ups"], ["---"] * 5]
    for name, weight in alone.items():
        cell = f"{weight.pss:.1f}"
        if name == WARM:
            cell += f" ({judge('service: PSS MiB', '', weight.pss, SERVICE_LIMIT_MIB)})"
        woke = woken(name, wakeups[name][1], "service")
        lines.append([name, str(weight.processes), cell, f"{weight.dirty:.1f}", woke])
    print_table(lines)


def woken(name: str, count: int, who: str = "monitors") -> str:
    """The number; of ours none is allowed."""
    if not name.startswith(WARM):
        return str(count)
    return f"{count} ({judge(f'{name}: wake-ups of {who} in {IDLE_S} s', '', count, 0)})"
