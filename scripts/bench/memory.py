"""What idle containers cost: memory of monitors and services after real work, and wake-ups."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from scripts.bench.harness import (
    host_facts,
    judged,
    options,
    print_table,
    scratch_directory,
)
from scripts.bench.peers import IMAGE, WARM, Peer, peers

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTAINERS = 8
QUICK = 3
IDLE_S = 10
LINES = 2000
SETTLING_S = 5
WORK = f"i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); done; sleep 100000"
MONITOR_LIMIT_MIB = 1.5
SERVICE_LIMIT_MIB = 60.0


class Standing(NamedTuple):
    """The processes of one engine that stay while its containers idle."""

    monitors: list[int]
    service: list[int]


def main() -> None:
    """Start a few containers in each engine, let them work, then look at all of them idle."""
    chosen = options(__doc__, rounds=CONTAINERS, quick=QUICK)
    with scratch_directory() as scratch, peers(scratch) as found:
        standing = {peer.name: begin(peer, chosen.rounds) for peer in found.values()}
        time.sleep(SETTLING_S)
        wakeups = idle(standing)
        publish_monitors(standing, wakeups)
        publish_services(standing, wakeups)


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


def parent_of(pid: int) -> int:
    """The process that watches the init (proc_pid_stat(5), field 4)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for name in Path("/proc").iterdir():
        if name.name.isdigit():
            try:
                parents.setdefault(parent_of(int(name.name)), []).append(int(name.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def idle(standing: dict[str, Standing]) -> dict[str, tuple[int, int]]:
    """Times that monitors and service of each engine were switched in while nothing went on."""
    pids = {pid for one in standing.values() for pid in (*one.monitors, *one.service)}
    before = {pid: switches(pid) for pid in pids}
    time.sleep(IDLE_S)
    during = {pid: switches(pid) - before[pid] for pid in pids}
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
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if "voluntary_ctxt_switches" in line:
                count += int(line.split()[1])
    return count


def smaps(pid: int) -> dict[str, float]:
    """MiB by kind."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}


def publish_monitors(
    standing: dict[str, Standing], wakeups: dict[str, tuple[int, int]]
) -> None:
    """What watches one container, in the median."""
    count = len(next(iter(standing.values())).monitors)
    print(f"\n### One monitor, after {LINES} lines and an exec\n")
    print(f"Medians of {count}; wake-ups of all {count} in {IDLE_S} s; {host_facts()}\n")
    lines = [["", "private dirty MiB", "private clean", "PSS", "wake-ups"], ["---"] * 5]
    for name, one in standing.items():
        figures = [smaps(pid) for pid in one.monitors]
        dirty, clean, pss = (
            statistics.median(figure[key] for figure in figures)
            for key in ("Private_Dirty", "Private_Clean", "Pss")
        )
        cell = f"{dirty:.2f}"
        cell = judged(dirty, MONITOR_LIMIT_MIB, cell) if name == WARM else cell
        lines.append([name, cell, f"{clean:.2f}", f"{pss:.2f}", woken(name, wakeups[name][0])])
    print_table(lines)


def publish_services(
    standing: dict[str, Standing], wakeups: dict[str, tuple[int, int]]
) -> None:
    """What stays whether there are containers or not."""
    print("\n### The service, with its children but without monitors\n")
    lines = [["", "processes", "PSS MiB", "private dirty", "wake-ups"], ["---"] * 5]
    for name, one in standing.items():
        if one.service:
            figures = [smaps(pid) for pid in one.service]
            pss = sum(figure["Pss"] for figure in figures)
            dirty = sum(figure["Private_Dirty"] for figure in figures)
            cell = judged(pss, SERVICE_LIMIT_MIB, f"{pss:.1f}") if name == WARM else f"{pss:.1f}"
            row = [str(len(figures)), cell, f"{dirty:.1f}", woken(name, wakeups[name][1])]
            lines.append([name, *row])
    print_table(lines)


def woken(name: str, count: int) -> str:
    """The number; of ours none is allowed."""
    return judged(count, 0, str(count)) if name.startswith(WARM) else str(count)


if __name__ == "__main__":
    main()
