"""``run --rm``, ``exec`` and ``create``: warm, cold, bare ``runc``, Docker and Podman in turn."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from scripts.bench.floor import RUNC
from scripts.bench.harness import check_run, interleave, report
from scripts.bench.peers import COLD, DOCKER, IMAGE, PODMAN, WARM
from scripts.bench.verdicts import Budget

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.bench.bench import Bench

    Actions = dict[str, Callable[[], object]]

RUN = (
    Budget(WARM, {RUNC: 1.4, DOCKER: 0.4, PODMAN: 0.4}),
    Budget(COLD, {DOCKER: 0.75, PODMAN: 0.75}),
)
EXEC = (Budget(WARM, {DOCKER: 0.6}), Budget(COLD, {}))
CREATE = (Budget(WARM, {DOCKER: 0.4, PODMAN: 0.4}), Budget(COLD, {}))


def measure(bench: Bench) -> None:
    """Measure a foreground run, then exec and create."""
    rounds = bench.choose(30, 5)
    measure_run(bench, rounds)
    measure_exec(bench, rounds)
    measure_create(bench, rounds)


def measure_run(bench: Bench, rounds: int) -> None:
    """One container from nothing to nothing."""
    actions: Actions = {}
    for name, floor in bench.floors.items():
        actions[name] = partial(floor.run, "run", floor.write("run", "echo", "hi"))
    for peer in bench.found.values():
        arguments = ("run", "--rm", "--network", "none", IMAGE, "echo", "hi")
        actions[peer.name] = partial(peer.run, *arguments)
    report("run --rm --network none … echo", interleave(actions, rounds), RUN)


def measure_exec(bench: Bench, rounds: int) -> None:
    """A command in a container that runs already."""
    actions: Actions = {}
    for name, floor in bench.floors.items():
        floor.start("exec", floor.write("exec", "sleep", "100000"))
        argv = ["runc", "--root", floor.root, "exec", "exec", "echo", "hi"]
        actions[name] = partial(check_run, argv)
    for peer in bench.found.values():
        container = peer.run("run", "-d", "--network", "none", IMAGE, "sleep", "100000").strip()
        actions[peer.name] = partial(peer.run, "exec", container, "echo", "hi")
    report("exec … echo", interleave(actions, rounds), EXEC)
    for floor in bench.floors.values():
        floor.remove("exec")
    bench.clear()


def measure_create(bench: Bench, rounds: int) -> None:
    """Making one that does not run."""
    actions: Actions = {
        peer.name: partial(peer.run, "create", "--network", "none", IMAGE, "true")
        for peer in bench.found.values()
    }
    report("create", interleave(actions, rounds), CREATE)
    bench.clear()
