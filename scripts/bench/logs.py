"""Writing and reading 160 MB of log lines: container to log, and ``logs`` to a pipe."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

from runengine.netns import namespace
from scripts.bench.harness import check_run, interleave, report
from scripts.bench.peers import DOCKER, IMAGE, PODMAN, WARM, Peer
from scripts.bench.verdicts import Budget

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.bench.bench import Bench

LINE = "0123456789abcdef" * 5  # 80 characters and a newline
MEGABYTES = 160
WRITING = (Budget(WARM, {PODMAN: 1.0}),)
READING = (Budget(WARM, {DOCKER: 0.2, PODMAN: 0.2}),)


def measure(bench: Bench) -> None:
    """Write in fresh containers, then read what the last ones wrote; without rotation."""
    rounds = bench.choose(3, 1)
    writing: dict[str, Callable[[], object]] = {
        peer.name: partial(write, peer) for peer in bench.found.values()
    }
    writing["cat to a file"] = partial(check_run, ["sh", "-c", f"{producer()} > /dev/null"])
    title = f"{MEGABYTES} MB of lines"
    report(f"{title} written", interleave(writing, rounds, warm_up=1), WRITING)
    reading: dict[str, Callable[[], object]] = {}
    for peer in bench.found.values():
        last = peer.run("ps", "-alq").split()[0]
        reading[peer.name] = partial(read, peer, last)
    report(f"{title} read", interleave(reading, rounds, warm_up=1), READING)
    bench.clear()


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
    with (
        namespace.entered(peer.host.inside),
        subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment) as process,
    ):
        total = 0
        while chunk := process.stdout.read(1 << 20) if process.stdout else b"":
            total += len(chunk)
    if total < MEGABYTES * 990_000:
        sys.exit(f"bench: {peer.name} gave back {total} bytes of {MEGABYTES} MB")
