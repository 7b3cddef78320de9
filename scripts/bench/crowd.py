"""A hundred starts, sixteen at a time, and the removal of the hundred while they run."""

from __future__ import annotations

import random
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from scripts.bench.cpu import cpu_seconds
from scripts.bench.harness import Sample, print_table, quantile, report, timed
from scripts.bench.peers import COLD, DOCKER, IMAGE, PODMAN, WARM, Peer
from scripts.bench.verdicts import Budget, judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.bench.bench import Bench
    from scripts.bench.floor import Bundle

HUNDRED = 100
QUICK = 32
AT_ONCE = 16
STARTS = (Budget(WARM, {DOCKER: 0.35, PODMAN: 0.35}), Budget(COLD, {}))
REMOVALS = (Budget(WARM, {DOCKER: 0.25, PODMAN: 0.25}), Budget(COLD, {}))


class Contestant(NamedTuple):
    """Starts one container by its number, and removes all that were started."""

    start: Callable[[int], bool]
    remove: Callable[[], object]


class Score:
    """What the rounds of one contestant gave."""

    def __init__(self) -> None:
        self.starts: list[Sample] = []
        self.removals: list[Sample] = []
        self.single_s: list[float] = []
        self.failures = 0


def measure(bench: Bench) -> None:
    """Everybody starts a crowd and removes it again before the next one's turn."""
    count = QUICK if bench.quick else HUNDRED
    field = {peer.name: of_peer(peer) for peer in bench.found.values()}
    for name, floor in bench.floors.items():
        field[name] = of_floor(floor, count)
    scores = {name: Score() for name in field}
    for number in range(bench.choose(3, 1)):
        for name in random.sample(list(field), len(field)):
            play(field[name], scores[name], count, number)
    publish(scores, count)


def of_peer(peer: Peer) -> Contestant:
    """An engine: ``run -d``, and ``rm -f`` of all in one command."""
    arguments = ("run", "-d", "--network", "none", IMAGE, "sleep", "100000")

    def start(_: int) -> bool:
        return peer.call(*arguments).returncode == 0

    return Contestant(start, peer.clear)


def of_floor(floor: Bundle, count: int) -> Contestant:
    """Bare ``runc run --detach``; kill and delete, as many at a time."""
    directories = [floor.write(f"crowd-{n}", "sleep", "100000") for n in range(count)]
    started: list[str] = []

    def start(number: int) -> bool:
        name = f"crowd-{number}"
        try:
            floor.start(name, directories[number])
        except subprocess.CalledProcessError:
            return False
        started.append(name)
        return True

    def remove() -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(floor.remove, started))
        started.clear()

    return Contestant(start, remove)


def play(contestant: Contestant, score: Score, count: int, number: int) -> None:
    """One round; a small one before the first warms up."""
    if number == 0:
        contestant.start(0)
        contestant.remove()
    cpu, begin = cpu_seconds(), time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        taken = list(pool.map(partial(timed_start, contestant), range(count)))
    score.starts.append(Sample(time.perf_counter() - begin, cpu_seconds() - cpu))
    score.single_s += [seconds for _, seconds in taken]
    score.failures += sum(not good for good, _ in taken)
    score.removals.append(timed(contestant.remove))


def timed_start(contestant: Contestant, number: int) -> tuple[bool, float]:
    """Whether it started, and how long its caller waited, in seconds."""
    begin = time.perf_counter()
    return contestant.start(number), time.perf_counter() - begin


def publish(scores: dict[str, Score], count: int) -> None:
    """Print the three tables."""
    title = f"{count} starts, {AT_ONCE} at a time"
    report(title, {name: score.starts for name, score in scores.items()}, STARTS)
    print(f"\n### {title}: each of them\n")
    lines = [["", "p50 ms", "p99 ms", "longest", "failures"], ["---"] * 5]
    for name, score in scores.items():
        cells = (
            statistics.median(score.single_s),
            quantile(score.single_s, 0.99),
            max(score.single_s),
        )
        figures = [f"{cell * 1000:.0f}" for cell in cells]
        failures = f"{score.failures} of {len(score.single_s)}"
        if name in (WARM, COLD):
            failures += f" ({judge(f'{name}: {title}: failures', '', score.failures, 0)})"
        lines.append([name, *figures, failures])
    print_table(lines)
    removals = {name: score.removals for name, score in scores.items()}
    report(f"rm of {count} running", removals, REMOVALS)
