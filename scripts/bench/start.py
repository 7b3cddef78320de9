"""``run --rm``, ``exec`` and ``create``: warm, cold, bare ``runc``, Docker and Podman in turn."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from scripts.bench.floor import RUNC, Bundle, bundles
from scripts.bench.harness import (
    Budget,
    check_run,
    interleave,
    options,
    report,
    scratch_directory,
)
from scripts.bench.peers import COLD, DOCKER, IMAGE, PODMAN, WARM, Peer, peers

if TYPE_CHECKING:
    from collections.abc import Callable

    Actions = dict[str, Callable[[], object]]

RUN = (
    Budget(WARM, {RUNC: 1.4, DOCKER: 0.4, PODMAN: 0.4}),
    Budget(COLD, {DOCKER: 0.75, PODMAN: 0.75}),
)
EXEC = (Budget(WARM, {DOCKER: 0.6}), Budget(COLD, {}))
CREATE = (Budget(WARM, {DOCKER: 0.4, PODMAN: 0.4}), Budget(COLD, {}))


def main() -> None:
    """Measure a foreground run, then exec and create."""
    chosen = options(__doc__, rounds=30, quick=5)
    with scratch_directory() as scratch, peers(scratch) as found:
        floors = bundles(scratch, found)
        measure_run(floors, found, chosen.rounds)
        measure_exec(floors, found, chosen.rounds)
        measure_create(found, chosen.rounds)


def measure_run(floors: dict[str, Bundle], found: dict[str, Peer], rounds: int) -> None:
    """One container from nothing to nothing."""
    actions: Actions = {}
    for name, floor in floors.items():
        actions[name] = partial(floor.run, "run", floor.write("run", "echo", "hi"))
    for peer in found.values():
        arguments = ("run", "--rm", "--network", "none", IMAGE, "echo", "hi")
        actions[peer.name] = partial(peer.run, *arguments)
    report("run --rm --network none … echo", interleave(actions, rounds), RUN)


def measure_exec(floors: dict[str, Bundle], found: dict[str, Peer], rounds: int) -> None:
    """A command in a container that runs already."""
    actions: Actions = {}
    for name, floor in floors.items():
        floor.start("exec", floor.write("exec", "sleep", "100000"))
        argv = ["runc", "--root", floor.root, "exec", "exec", "echo", "hi"]
        actions[name] = partial(check_run, argv)
    for peer in found.values():
        container = peer.run("run", "-d", "--network", "none", IMAGE, "sleep", "100000").strip()
        actions[peer.name] = partial(peer.run, "exec", container, "echo", "hi")
    report("exec … echo", interleave(actions, rounds), EXEC)
    for floor in floors.values():
        floor.remove("exec")
    for peer in found.values():
        peer.clear()


def measure_create(found: dict[str, Peer], rounds: int) -> None:
    """Making one that does not run."""
    actions: Actions = {
        peer.name: partial(peer.run, "create", "--network", "none", IMAGE, "true")
        for peer in found.values()
    }
    report("create", interleave(actions, rounds), CREATE)
    for peer in found.values():
        peer.clear()


if __name__ == "__main__":
    main()
