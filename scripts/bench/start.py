"""``run --rm --network none IMAGE echo`` against a bare ``runc run`` of the same bundle."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from scripts.bench.harness import check_run, interleave, report, scratch_directory
from scripts.bench.peers import IMAGE, Peer, bundle, peers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def main() -> None:
    """Measure a foreground run, and create and exec beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with scratch_directory() as scratch, peers(scratch) as found:
        measure_run(scratch, found, options.rounds)
        measure_exec(found, options.rounds)


def measure_run(scratch: Path, found: dict[str, Peer], rounds: int) -> None:
    """One container from nothing to nothing."""
    same = bundle(scratch, found["runengine"], "echo", "hello")
    raw = ["runc", "--root", f"{scratch}/runc", "run", "-b", str(same), "bench"]
    actions: dict[str, Callable[[], object]] = {"runc (raw)": partial(check_run, raw)}
    for peer in found.values():
        arguments = ("run", "--rm", "--network", "none", IMAGE, "echo", "hi")
        actions[peer.name] = partial(peer.run, *arguments)
    report("run --rm --network none … echo", interleave(actions, rounds))


def measure_exec(found: dict[str, Peer], rounds: int) -> None:
    """A command in a container that runs already, and making one that does not run."""
    names = {}
    for peer in found.values():
        names[peer.name] = peer.run(
            "run", "-d", "--network", "none", IMAGE, "sleep", "100000"
        ).strip()
    actions: dict[str, Callable[[], object]] = {
        name: partial(peer.run, "exec", names[name], "echo", "hi") for name, peer in found.items()
    }
    report("exec … echo", interleave(actions, rounds))
    actions = {
        peer.name: partial(peer.run, "create", "--network", "none", IMAGE, "true")
        for peer in found.values()
    }
    report("create", interleave(actions, rounds))
    for peer in found.values():
        everything = peer.run("ps", "-aq").split()
        peer.run("rm", "-f", *everything)


if __name__ == "__main__":
    main()
