"""Bridges: ``run --rm``, published ports and what passes them, 200 containers, ``connect``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from scripts.bench import traffic
from scripts.bench.harness import (
    Sample,
    host_facts,
    interleave,
    middle,
    middle_cpu,
    print_table,
    report,
    timed,
)
from scripts.bench.peers import COLD, DOCKER, IMAGE, PODMAN, WARM
from scripts.bench.plugged import plugged
from scripts.bench.verdicts import Budget, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scripts.bench.bench import Bench
    from scripts.bench.peers import Peer

    Actions = dict[str, Callable[[], object]]

RUN = (Budget(WARM, {DOCKER: 0.35, PODMAN: 0.35}), Budget(COLD, {}))
COMPARED = (Budget(WARM, {}), Budget(COLD, {}))
PORTS = 32
PORTS_LIMIT_MS = 5.0
PUBLISHED = [word for n in range(PORTS) for word in ("-p", f"{20000 + 2 * n}:{1000 + 3 * n}")]
"""No two in a row: a row would be one entry to some engines."""
MANY, QUICK_MANY = 200, 40
MANY_LIMIT = 1.2
NETWORK = "bench"


def measure(bench: Bench) -> None:
    """Measure starts, then commands, then traffic."""
    measure_run(bench, bench.choose(30, 5))
    measure_ports(bench, bench.choose(30, 5))
    measure_many(bench)
    measure_create(bench, bench.choose(15, 3))
    measure_connect(bench, bench.choose(15, 3))
    traffic.measure(bench)


def measure_run(bench: Bench, rounds: int) -> None:
    """One container from nothing to nothing, on the default bridge and on a network made for it.

    Without any network beside it: the difference is what the network costs.
    """
    with plugged(bench.floors) as floors:
        actions: Actions = {name: floor.run for name, floor in floors.items()}
        actions |= {peer.name: run(peer) for peer in bench.found.values()}
        actions |= {f"{name}, no network": run(bench.found[name], "--network", "none")
                    for name in (WARM, COLD)}  # fmt: skip
        report("run --rm … echo, on the default bridge", interleave(actions, rounds), RUN)
    for peer in bench.found.values():
        if peer.name != WARM:  # they have the same networks
            peer.run("network", "create", NETWORK)
    actions = {peer.name: run(peer, "--network", NETWORK) for peer in bench.found.values()}
    title = "run --rm … echo, on a user-defined network"
    report(title, interleave(actions, rounds), COMPARED)
    remove_network(bench)


def run(peer: Peer, *flags: str) -> Callable[[], object]:
    """A foreground run of one container."""
    return partial(peer.run, "run", "--rm", *flags, IMAGE, "echo", "hi")


def remove_network(bench: Bench) -> None:
    """Remove what was made by name."""
    for peer in bench.found.values():
        if peer.name != WARM:
            peer.run("network", "rm", NETWORK)


def measure_ports(bench: Bench, rounds: int) -> None:
    """The same with published ports and without, in turn."""
    actions: Actions = {}
    for peer in bench.found.values():
        actions[peer.name] = run(peer)
        actions[with_ports(peer.name)] = run(peer, *PUBLISHED)
    samples = interleave(actions, rounds)
    title = f"{PORTS} published ports"
    print(f"\n### run --rm … echo with {title}\n\n{rounds} rounds, interleaved; {host_facts()}\n")
    head = ["", "without, ms", "with, ms", "cost, ms", "cost of minima", "cost, CPU ms"]
    lines = [head, ["---"] * len(head)]
    for name in bench.found:
        plain, ported = samples[name], samples[with_ports(name)]
        cost = (middle(ported) - middle(plain)) * 1000
        least = (fastest(ported) - fastest(plain)) * 1000
        cpu = (middle_cpu(ported) - middle_cpu(plain)) * 1000
        cell = f"{cost:.1f}"
        if name == WARM:
            verdict = judge(f"{name}: {title}, cost in ms", "none", cost, PORTS_LIMIT_MS)
            cell += f" ({verdict})"
        walls = [f"{middle(row) * 1000:.1f}" for row in (plain, ported)]
        lines.append([name, *walls, cell, f"{least:.1f}", f"{cpu:.1f}"])
    print_table(lines)


def with_ports(name: str) -> str:
    """The row of an engine's runs with ports."""
    return f"{name}, {PORTS} ports"


def fastest(samples: Sequence[Sample]) -> float:
    """Seconds."""
    return min(sample.wall_s for sample in samples)


def measure_many(bench: Bench) -> None:
    """Containers on one bridge: the last tenth of the starts and the first.

    One engine after the other: what stands on the host, such as mounts, makes every start dearer.
    How much of it is the bridge's, ours without a network shows.
    """
    count = QUICK_MANY if bench.quick else MANY
    warm = bench.found[WARM]
    rows: list[tuple[str, Peer, tuple[str, ...]]] = [
        (f"{WARM}, no network", warm, ("--network", "none"))
    ]
    rows += [(peer.name, peer, ()) for peer in bench.found.values() if peer.name != COLD]
    starts: dict[str, list[Sample]] = {}
    for name, peer, flags in rows:
        action = partial(peer.run, "run", "-d", *flags, IMAGE, "sleep", "100000")
        action()
        starts[name] = [timed(action) for _ in range(count)]
        peer.clear()
    publish_many(starts, count)


def publish_many(starts: dict[str, list[Sample]], count: int) -> None:
    """Print what the first and the last ones took."""
    part = count // 10
    title = f"{count} containers on one bridge"
    print(f"\n### run -d, {title}\n\nMedians of {part}; {host_facts()}\n")
    head = ["", f"first {part}, ms", f"last {part}, ms", "last / first", "first, CPU ms", "last"]
    lines = [head, ["---"] * len(head)]
    for name, samples in starts.items():
        first, last = samples[:part], samples[-part:]
        ratio = middle(last) / middle(first)
        cell = f"{ratio:.2f}"
        if name == WARM:
            cell += f" ({judge(f'{name}: {title}: last start', 'first', ratio, MANY_LIMIT)})"
        walls = (f"{middle(samples) * 1000:.1f}" for samples in (first, last))
        cpu = (f"{middle_cpu(samples) * 1000:.1f}" for samples in (first, last))
        lines.append([name, *walls, cell, *cpu])
    print_table(lines)


def measure_create(bench: Bench, rounds: int) -> None:
    """Making a network."""
    actions: Actions = {}
    undo: Actions = {}
    for peer in bench.found.values():
        actions[peer.name] = partial(peer.run, "network", "create", NETWORK)
        undo[peer.name] = partial(peer.run, "network", "rm", NETWORK)
    report("network create", interleave(actions, rounds, undo=undo), COMPARED)


def measure_connect(bench: Bench, rounds: int) -> None:
    """Giving a running container one more interface; another keeps the network in use."""
    actions: Actions = {}
    undo: Actions = {}
    for peer in bench.found.values():
        if peer.name != WARM:
            peer.run("network", "create", NETWORK)
            peer.run("run", "-d", "--network", NETWORK, IMAGE, "sleep", "100000")
        container = peer.run("run", "-d", IMAGE, "sleep", "100000").strip()
        actions[peer.name] = partial(peer.run, "network", "connect", NETWORK, container)
        undo[peer.name] = partial(peer.run, "network", "disconnect", NETWORK, container)
    report("network connect", interleave(actions, rounds, undo=undo), COMPARED)
    bench.clear()
    remove_network(bench)
