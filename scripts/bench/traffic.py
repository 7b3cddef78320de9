"""What passes a published port: bytes, round trips and connections, by several ways.

The server is a process of ours in the container's network namespace, the client one outside of
it, both the same for every engine: what differs is what is between them.
"""

from __future__ import annotations

import os
import random
import socket
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from runengine.netns import namespace
from scripts.bench import hosts, traffic_server
from scripts.bench.harness import host_facts, print_table
from scripts.bench.peers import COLD, DOCKER, IMAGE, PODMAN, WARM
from scripts.bench.verdicts import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scripts.bench.bench import Bench
    from scripts.bench.peers import Peer

SENT_BYTES, QUICK_BYTES = 1 << 30, 1 << 28
PIECE_BYTES = 1 << 22
ROUND_TRIPS = 2000
CONNECTIONS = 500
AS_GOOD = 1.05
"""Goal: at least the better of the others. So much differs between two runs of one engine."""
HOST_PORT = 25000
ADDRESS_FORMAT = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
TIMEOUT_S = 60


class Way(NamedTuple):
    """Where a client is, and whom it asks."""

    what: str
    namespace: int
    address: str
    port: int


class Score(NamedTuple):
    """What the rounds gave for one engine and one way."""

    rates: list[float]
    """Bytes a second."""
    trips_s: list[float]
    connections_s: list[float]


def measure(bench: Bench) -> None:
    """Every engine's container in turn, by every way, in every round."""
    size = QUICK_BYTES if bench.quick else SENT_BYTES
    rounds = bench.choose(9, 3)
    with ExitStack() as stack:
        ways = {peer.name: stack.enter_context(serving(peer))
                for peer in bench.found.values() if peer.name != COLD}  # fmt: skip
        payload = stack.enter_context(payload_of(PIECE_BYTES))
        scores = {(name, way.what): Score([], [], []) for name in ways for way in ways[name]}
        for number in range(rounds + 1):
            for name in random.sample(list(ways), len(ways)):
                for way in ways[name]:
                    # The first round is not counted.
                    score = scores[name, way.what] if number else Score([], [], [])
                    play(way, score, payload, size)
    bench.clear()
    for what in dict.fromkeys(what for _, what in scores):
        publish(what, {name: scores[name, what] for name in ways})


@contextmanager
def serving(peer: Peer) -> Iterator[list[Way]]:
    """A container with a server in its network, and the ways that lead to it."""
    port = f"{HOST_PORT}:{traffic_server.PORT}"
    container = peer.run("run", "-d", "-p", port, IMAGE, "sleep", "100000").strip()
    own = peer.run("inspect", "-f", ADDRESS_FORMAT, container).strip()
    fd = namespace.of_process(int(peer.run("inspect", "-f", "{{.State.Pid}}", container)))
    inside, outside = peer.host
    try:
        with namespace.entered(fd):
            argv = [sys.executable, "-IS", traffic_server.__file__]
            server = subprocess.Popen(argv, stdout=subprocess.PIPE)
    finally:
        os.close(fd)
    try:
        if server.stdout is None or not server.stdout.readline():
            sys.exit("bench: the server of the traffic does not start")
        yield [
            Way("a published port, 127.0.0.1", inside, "127.0.0.1", HOST_PORT),
            Way("a published port, by the host's address", inside, hosts.ADDRESS, HOST_PORT),
            Way("a published port, from outside", outside, hosts.ADDRESS, HOST_PORT),
            Way("no port: the container's own address", inside, own, traffic_server.PORT),
        ]
    finally:
        server.kill()
        server.communicate()


@contextmanager
def payload_of(size: int) -> Iterator[int]:
    """A file in memory, to be sent without being copied."""
    fd = os.memfd_create("payload")
    try:
        os.truncate(fd, size)
        yield fd
    finally:
        os.close(fd)


def play(way: Way, score: Score, payload: int, size: int) -> None:
    """One round by one way."""
    score.rates.append(size / send(way, payload, size))
    score.trips_s.append(statistics.median(round_trips(way)))
    score.connections_s.append(CONNECTIONS / connections(way))


@contextmanager
def connected(way: Way, kind: bytes) -> Iterator[socket.socket]:
    """A connection, and what is wanted on it said."""
    with socket.socket() as sock:
        sock.settimeout(TIMEOUT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect((way.address, way.port))
        sock.sendall(kind)
        yield sock


def send(way: Way, payload: int, size: int) -> float:
    """Seconds until the far end has counted all of it."""
    with namespace.entered(way.namespace), connected(way, traffic_server.SINK) as sock:
        sock.settimeout(None)  # sendfile(2) on a blocking socket
        start = time.perf_counter()
        left = size
        while left:
            left -= os.sendfile(sock.fileno(), payload, 0, min(left, PIECE_BYTES))
        sock.shutdown(socket.SHUT_WR)
        counted = int.from_bytes(sock.recv(8, socket.MSG_WAITALL))
        seconds = time.perf_counter() - start
    if counted != size:
        sys.exit(f"bench: {counted} bytes of {size} came through {way.what}")
    return seconds


def round_trips(way: Way) -> list[float]:
    """Seconds for a byte there and back, each time."""
    found = []
    with namespace.entered(way.namespace), connected(way, traffic_server.ECHO) as sock:
        sock.settimeout(None)
        for _ in range(ROUND_TRIPS):
            start = time.perf_counter()
            sock.send(b".")
            sock.recv(1)
            found.append(time.perf_counter() - start)
    return found


def connections(way: Way) -> float:
    """Seconds for all of them, one after the other, each with a byte there and back."""
    with namespace.entered(way.namespace):
        start = time.perf_counter()
        for _ in range(CONNECTIONS):
            with connected(way, traffic_server.ASK) as sock:
                sock.recv(1)
        return time.perf_counter() - start


def publish(what: str, scores: dict[str, Score]) -> None:
    """Print the best by one way, ours beside the better of the others.

    The way is the kernel's and always the same; what is slower is somebody else's load.
    """
    rounds = len(next(iter(scores.values())).rates)
    print(f"\n### {what}\n\nBest of {rounds} rounds; {host_facts()}\n")
    lines = [["", "MB/s", "round trip, µs", "connections/s"], ["---"] * 4]
    figures = {
        name: [max(score.rates), min(score.trips_s), max(score.connections_s)]
        for name, score in scores.items()
    }
    others = [row for name, row in figures.items() if name in (DOCKER, PODMAN)]
    for name, (rate, trip, count) in figures.items():
        cells = [f"{rate / 1e6:.0f}", f"{trip * 1e6:.1f}", f"{count:.0f}"]
        if name == WARM and others and "port," in what:
            cells = [f"{cell} ({verdict})" for cell, verdict in
                     zip(cells, verdicts(what, figures[name], others), strict=True)]  # fmt: skip
        lines.append([name, *cells])
    print_table(lines)


def verdicts(what: str, ours: list[float], others: list[list[float]]) -> list[str]:
    """How many times worse than the better of the others, for each figure."""
    kinds: tuple[tuple[str, Callable[[float, float], float]], ...] = (
        ("MB/s", lambda own, other: other / own),
        ("round trip", lambda own, other: own / other),
        ("connections/s", lambda own, other: other / own),
    )
    found = []
    for index, (kind, worse) in enumerate(kinds):
        value = max(worse(ours[index], row[index]) for row in others)
        title = f"{WARM}: {what}: {kind}, times worse"
        found.append(judge(title, "the better of both", value, AS_GOOD))
    return found
