"""``ps -a`` with 10, 200 and 1,000 containers."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from scripts.bench.harness import interleave, report
from scripts.bench.peers import COLD, DOCKER, IMAGE, PODMAN, WARM, Peer
from scripts.bench.verdicts import Budget

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scripts.bench.bench import Bench

SIZES = (10, 200, 1000)
QUICK_SIZES = (10, 200)
AT_ONCE = 4
BUDGETS = (Budget(WARM, {DOCKER: 0.5, PODMAN: 0.5}), Budget(COLD, {}))


def measure(bench: Bench) -> None:
    """Measure at each size; containers are added in between."""
    there = 0
    for size in QUICK_SIZES if bench.quick else SIZES:
        for peer in bench.found.values():
            if peer.name != WARM:  # its containers are those of the cold one
                add(peer, bench.scratch, size - there)
        there = size
        measure_size(bench, size)
    bench.clear()


def measure_size(bench: Bench, size: int) -> None:
    """Every engine must list all of them."""
    actions: dict[str, Callable[[], object]] = {}
    for peer in bench.found.values():
        listed = len(peer.run("ps", "-a").splitlines()) - 1
        if listed != size:
            sys.exit(f"bench: {peer.name} lists {listed} containers of {size}")
        actions[peer.name] = partial(peer.run, "ps", "-a")
    report(f"ps -a with {size} containers", interleave(actions, bench.choose(15, 5)), BUDGETS)


def add(peer: Peer, scratch: Path, count: int) -> None:
    """Make containers that were never started: ours in one process, others some at once."""
    if peer.name == COLD:
        add_ours(scratch, count)
        return

    def create(_: int) -> None:
        peer.run("create", "--network", "none", IMAGE, "sleep", "100000")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(create, range(count)))


def add_ours(scratch: Path, count: int) -> None:
    """By the library."""
    from runengine import Engine
    from runengine.model import container_config, host_config
    from runengine.paths import Paths

    with Engine.open(Paths(f"{scratch}/root", f"{scratch}/run/state")) as engine:
        for _ in range(count):
            config = container_config(IMAGE)
            config["Cmd"] = ["sleep", "100000"]
            host = host_config()
            host["NetworkMode"] = "none"
            engine.containers.create(None, config, host)
