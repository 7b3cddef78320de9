"""Private memory of an idle monitor, after it has done some work, beside the peers' own."""

from __future__ import annotations

import statistics
from pathlib import Path

from scripts.bench.harness import scratch_directory
from scripts.bench.peers import IMAGE, Peer, peers

CONTAINERS = 8
WORK = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; sleep 100000"


def main() -> None:
    """Start a few containers in each engine and look at the parent of each one's init."""
    with scratch_directory() as scratch, peers(scratch) as found:
        for peer in found.values():
            measure(peer)


def measure(peer: Peer) -> None:
    """Print the medians for one engine."""
    names = [
        peer.run("run", "-d", "--network", "none", IMAGE, "sh", "-c", WORK).strip()
        for _ in range(CONTAINERS)
    ]
    for name in names:
        peer.run("exec", name, "true")
    inits = [int(peer.run("inspect", "-f", "{{.State.Pid}}", name)) for name in names]
    monitors = [parent_of(pid) for pid in inits]
    figures = [smaps(pid) for pid in monitors]
    print(
        f"{peer.name:12} private dirty {median(figures, 'Private_Dirty'):6.2f} MiB"
        f"   private clean {median(figures, 'Private_Clean'):6.2f}"
        f"   PSS {median(figures, 'Pss'):6.2f}   wake-ups {wakeups(monitors)} in all"
    )
    peer.run("rm", "-f", *names)


def parent_of(pid: int) -> int:
    """The process that watches the init (proc_pid_stat(5), field 4)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def smaps(pid: int) -> dict[str, float]:
    """MiB by kind."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}


def median(figures: list[dict[str, float]], key: str) -> float:
    """Median of one kind."""
    return statistics.median(figure[key] for figure in figures)


def wakeups(pids: list[int]) -> int:
    """Times the monitors were switched in during ten seconds of nothing to do."""
    import time

    def total() -> int:
        text = "\n".join(Path(f"/proc/{pid}/status").read_text() for pid in set(pids))
        return sum(
            int(line.split()[1]) for line in text.splitlines() if "voluntary_ctxt_switches" in line
        )

    before = total()
    time.sleep(10)
    return total() - before


if __name__ == "__main__":
    main()
