"""Timing side by side: every engine in turn, many rounds, medians and ratios.

These machines are noisy, so a figure alone says little: engines are run interleaved, in a new
order each round, and compared with what ran beside them. CPU time is the whole machine's
(cpuacct), because an engine's work happens in daemons as well.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

CPUACCT = Path("/sys/fs/cgroup/cpuacct/cpuacct.usage")


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A directory for the engines' roots; ``RUNENGINE_BENCH_DIR`` chooses its file system.

    A root file system without a journal flatters whoever syncs most: use a journalled one.
    """
    parent = os.environ.get("RUNENGINE_BENCH_DIR")
    with tempfile.TemporaryDirectory(prefix="runengine-bench-", dir=parent) as name:
        try:
            yield Path(name)
        finally:
            unmount_below(name)


def unmount_below(directory: str) -> None:
    """Peers leave mounts behind, and a mount point cannot be removed."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    targets = [line.split()[4] for line in lines]
    below = [target for target in targets if target.startswith(f"{directory}/")]
    for target in sorted(below, reverse=True):
        subprocess.run(["umount", "-l", target], check=False)


class Sample(NamedTuple):
    """One timed call."""

    wall_s: float
    cpu_s: float


def check_run(argv: Sequence[str], **options: object) -> str:
    """Run a command that must succeed; returns its output. Exits with its error otherwise."""
    done = subprocess.run(list(argv), capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"bench: {' '.join(argv)} failed ({done.returncode}): {done.stderr.strip()}")
    return str(done.stdout)


def cpu_seconds() -> float:
    """CPU time that the whole machine has used, where the kernel counts it."""
    try:
        return int(CPUACCT.read_text()) / 1e9
    except OSError:
        return 0.0


def timed(action: Callable[[], object]) -> Sample:
    """Call once; wall time, and CPU time of the machine meanwhile."""
    cpu, start = cpu_seconds(), time.perf_counter()
    action()
    return Sample(time.perf_counter() - start, cpu_seconds() - cpu)


def interleave(
    actions: Mapping[str, Callable[[], object]], rounds: int, *, warm_up: int = 2
) -> dict[str, list[Sample]]:
    """Call every action once a round, in a new random order each time."""
    samples: dict[str, list[Sample]] = {name: [] for name in actions}
    for number in range(rounds + warm_up):
        order = list(actions)
        random.shuffle(order)
        for name in order:
            sample = timed(actions[name])
            if number >= warm_up:
                samples[name].append(sample)
    return samples


def report(title: str, samples: Mapping[str, Sequence[Sample]], ours: str = "runengine") -> None:
    """Print medians, and our ratio to each of the others."""
    rounds = len(next(iter(samples.values())))
    print(f"\n{title}  ({rounds} rounds, interleaved; {host_facts()})")
    print(f"  {'':24}{'wall ms':>9}{'min':>8}{'max':>8}{'cpu ms':>9}   {ours} / it")
    mine = statistics.median(sample.wall_s for sample in samples[ours])
    for name, taken in samples.items():
        walls = [sample.wall_s * 1000 for sample in taken]
        cpu = statistics.median(sample.cpu_s for sample in taken) * 1000
        middle = statistics.median(walls)
        ratio = "" if name == ours else f"{mine * 1000 / middle:8.2f}"
        print(
            f"  {name:24}{middle:9.1f}{min(walls):8.1f}{max(walls):8.1f}{cpu:9.1f}   {ratio}",
            flush=True,
        )


def host_facts() -> str:
    """What a reader must know of the machine."""
    uname = os.uname()
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} CPUs, kernel {uname.release}, load {load:.1f}"
