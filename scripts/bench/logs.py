"""Writing and reading 160 MB of log lines: container to log, and ``logs`` to a pipe."""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

from scripts.bench.harness import Sample, check_run, interleave, report, scratch_directory
from scripts.bench.peers import IMAGE, PODMAN, Peer, peers

if TYPE_CHECKING:
    from collections.abc import Callable

LINE = "0123456789abcdef" * 5  # 80 characters and a newline
MEGABYTES = 160


def main() -> None:
    """Measure both directions, with rotation off everywhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with scratch_directory() as scratch, peers(scratch) as found:
        measure(found, options.rounds)


def measure(found: dict[str, Peer], rounds: int) -> None:
    """Write in fresh containers, then read what the last ones wrote."""
    writing: dict[str, Callable[[], object]] = {
        peer.name: partial(write, peer) for peer in found.values()
    }
    writing["cat to a file"] = partial(check_run, ["sh", "-c", f"{producer()} > /dev/null"])
    report(f"{MEGABYTES} MB of lines written", interleave(writing, rounds, warm_up=1))
    reading: dict[str, Callable[[], object]] = {}
    for peer in found.values():
        last = peer.run("ps", "-alq").split()[0]
        reading[peer.name] = partial(read, peer, last)
    samples: dict[str, list[Sample]] = interleave(reading, rounds, warm_up=1)
    report(f"{MEGABYTES} MB of lines read", samples)
    for peer in found.values():
        peer.clear()


def producer() -> str:
    """A shell command that prints the lines at once."""
    return f"yes {LINE} | head -c {MEGABYTES * 1_000_000}"


def write(peer: Peer) -> None:
    """Run the producer in a detached container and wait for its end."""
    limits = [] if peer.name == PODMAN else ["--log-opt", "max-size=1g"]
    arguments = ["-d", "--network", "none", *limits, IMAGE, "sh", "-c", producer()]
    peer.run("wait", peer.run("run", *arguments).strip())


def read(peer: Peer, container: str) -> None:
    """Read the whole log; as many bytes must come as were written."""
    argv = [*peer.argv, "logs", container]
    environment = peer.environment
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment) as process:
        total = 0
        while chunk := process.stdout.read(1 << 20) if process.stdout else b"":
            total += len(chunk)
    if total < MEGABYTES * 990_000:
        sys.exit(f"bench: {peer.name} gave back {total} bytes of {MEGABYTES} MB")


if __name__ == "__main__":
    main()
