"""DNS: questions a second, and the time that one takes, beside dnsmasq.

Everything is in a network namespace of its own, on loopback: resolver, dnsmasq, a second dnsmasq
as the world's server, and this process as the client, which is the same for both.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runengine.netns import namespace
from runengine.paths import Paths
from runengine.resolver import control, launch, tables
from runengine.resolver.tables import Host, Table
from scripts.bench.harness import host_facts, print_table, quantile
from scripts.bench.memory import smaps, switches
from scripts.bench.verdicts import judge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.bench.bench import Bench

OURS, DNSMASQ = "runengine", "dnsmasq"
ADDRESSES = {OURS: "127.0.1.1", DNSMASQ: "127.0.2.1"}
CLIENT = "127.0.1.9"
WORLD = "127.0.3.1"
CONTAINERS = 50
QUESTIONS = 2000
AT_ONCE = 32
IDLE_S = 10
TYPES = (1, 28)
"""A and AAAA, as C libraries ask for both."""
ASKED = {
    "a container's name": [f"c{number}" for number in range(CONTAINERS)],
    "another name": [f"h{number}.example" for number in range(CONTAINERS)],
}
LATENCY_LIMIT = 3.0
"""Times dnsmasq's."""
MEMORY_LIMIT_MIB = 15.0


class Score:
    """What the rounds of one server gave for one kind of name."""

    def __init__(self) -> None:
        self.each_s: list[float] = []
        self.rates: list[float] = []
        self.cpu_s: list[float] = []


class Server(NamedTuple):
    """A process that answers at an address."""

    address: str
    pid: int


def measure(bench: Bench) -> None:
    """Both servers in turn, in a new order each round."""
    if not shutil.which(DNSMASQ):
        sys.exit("bench: no dnsmasq on PATH (apt-get install dnsmasq-base)")
    scratch = bench.scratch / "dns"
    scratch.mkdir()
    with ExitStack() as stack:
        own = namespace.new()
        stack.callback(os.close, own)
        stack.enter_context(namespace.entered(own))
        servers = {
            OURS: stack.enter_context(resolver(scratch)),
            DNSMASQ: stack.enter_context(dnsmasq(scratch)),
        }
        stack.enter_context(world(scratch))
        for kind, names in ASKED.items():
            publish(kind, measure_kind(servers, names, bench.choose(15, 3)))
        publish_idle(servers)


@contextmanager
def resolver(scratch: Path) -> Iterator[Server]:
    """Ours, with some containers."""
    paths = Paths(f"{scratch}/root", f"{scratch}/state")
    hosts = tuple(
        Host(f"id{number}", (f"c{number}",), (f"127.0.1.{10 + number}", f"fd00::{10 + number}"))
        for number in range(CONTAINERS)
    )
    gateway = ADDRESSES[OURS]
    directory = launch.directory_of(paths)
    tables.write(directory, Table("n", "n", (gateway,), ("127.0.1.0/24",), hosts, (WORLD,)))
    launch.ensure(paths)
    answer = control.ask(directory)
    if answer is None:
        sys.exit("bench: no resolver")
    try:
        yield Server(gateway, answer.pid)
    finally:
        tables.remove(directory, "n")
        with contextlib.suppress(ProcessLookupError):
            end_of(answer.pid)


def end_of(pid: int) -> None:
    """Wait until a process that is not ours has ended."""
    while True:
        os.kill(pid, 0)
        time.sleep(0.01)


@contextmanager
def dnsmasq(scratch: Path) -> Iterator[Server]:
    """The same names from a hosts file, and no cache: we have none."""
    hosts = scratch / "hosts"
    hosts.write_text(
        "".join(f"127.0.1.{10 + n} c{n}\nfd00::{10 + n} c{n}\n" for n in range(CONTAINERS))
    )
    address = ADDRESSES[DNSMASQ]
    with running(address, f"--addn-hosts={hosts}", "--cache-size=0", f"--server={WORLD}") as pid:
        yield Server(address, pid)


@contextmanager
def world(scratch: Path) -> Iterator[Server]:
    """Knows every name below ``example``."""
    del scratch
    with running(WORLD, "--address=/example/192.0.2.7", "--address=/example/2001:db8::7") as pid:
        yield Server(WORLD, pid)


@contextmanager
def running(address: str, *more: str) -> Iterator[int]:
    """A dnsmasq that answers; its pid."""
    argv = [DNSMASQ, "--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts", "--no-resolv",
            "--bind-interfaces", f"--listen-address={address}", "--user=root", "--pid-file=",
            "--dns-forward-max=1000", *more]  # fmt: skip
    process = subprocess.Popen(argv)
    try:
        with client(address) as sock:
            while True:
                with contextlib.suppress(OSError):
                    sock.send(query("c0", 1, 0))
                    sock.recv(512)
                    break
                time.sleep(0.02)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


@contextmanager
def client(server: str) -> Iterator[socket.socket]:
    """A socket that hears this server alone."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.bind((CLIENT, 0))
        sock.connect((server, 53))
        yield sock


def query(name: str, rdtype: int, number: int) -> bytes:
    """As a C library asks."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return (
        struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0)
        + labels
        + struct.pack("!BHH", 0, rdtype, 1)
    )


def measure_kind(servers: dict[str, Server], names: list[str], rounds: int) -> dict[str, Score]:
    """One question at a time, then some at once, in every round."""
    scores = {name: Score() for name in servers}
    queries = [
        query(names[number % len(names)], TYPES[number % 2], number) for number in range(QUESTIONS)
    ]
    for number in range(rounds + 1):
        order = list(servers)
        random.shuffle(order)
        for name in order:
            score = Score() if number == 0 else scores[name]  # the first one is not counted
            with client(servers[name].address) as sock:
                before = cpu_of(servers[name].pid)
                score.each_s += one_by_one(sock, queries)
                score.rates.append(at_once(sock, queries))
                score.cpu_s.append((cpu_of(servers[name].pid) - before) / 2 / QUESTIONS)
    return scores


def one_by_one(sock: socket.socket, queries: list[bytes]) -> list[float]:
    """Time of each question; a wrong answer ends the measurement."""
    times = []
    for asked in queries:
        start = time.perf_counter()
        sock.send(asked)
        answer = sock.recv(512)
        times.append(time.perf_counter() - start)
        check(asked, answer)
    return times


def at_once(sock: socket.socket, queries: list[bytes]) -> float:
    """Questions a second with some always under way."""
    start = time.perf_counter()
    waiting = {asked[:2]: asked for asked in queries[:AT_ONCE]}
    for asked in queries[:AT_ONCE]:
        sock.send(asked)
    following = iter(queries[AT_ONCE:])
    while waiting:
        answer = sock.recv(512)
        check(waiting.pop(answer[:2]), answer)
        asked = next(following, b"")
        if asked:
            waiting[asked[:2]] = asked
            sock.send(asked)
    return len(queries) / (time.perf_counter() - start)


def check(asked: bytes, answer: bytes) -> None:
    """The same id, no error, and the same question."""
    end = len(asked)
    if answer[:2] != asked[:2] or answer[3] & 0xF or answer[12:end] != asked[12:]:
        sys.exit(f"bench: wrong answer {answer!r} to {asked!r}")


def cpu_of(pid: int) -> float:
    """Seconds that a process has used (proc_pid_schedstat: nanoseconds on a CPU)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def publish(kind: str, scores: dict[str, Score]) -> None:
    """Medians over all questions and rounds."""
    rounds = len(next(iter(scores.values())).rates)
    print(f"\n### DNS: {kind}\n\n{rounds} rounds of {QUESTIONS} questions; {host_facts()}\n")
    head = ["", "one at a time, us", "p99", f"questions/s, {AT_ONCE} at once", "CPU us each"]
    lines = [head, ["---"] * len(head)]
    theirs = statistics.median(scores[DNSMASQ].each_s)
    for name, score in scores.items():
        middle = statistics.median(score.each_s)
        cell = f"{middle * 1e6:.0f}"
        if name == OURS:
            ratio = middle / theirs
            verdict = judge(f"DNS: {kind}: time", DNSMASQ, ratio, LATENCY_LIMIT)
            cell += f" ({ratio:.2f} x, {verdict})"
        p99 = quantile(score.each_s, 0.99) * 1e6
        rate, cpu = statistics.median(score.rates), statistics.median(score.cpu_s) * 1e6
        lines.append([name, cell, f"{p99:.0f}", f"{rate:.0f}", f"{cpu:.0f}"])
    print_table(lines)


def publish_idle(servers: dict[str, Server]) -> None:
    """What the servers cost while nobody asks."""
    time.sleep(3)  # the last timer of a forwarded question
    before = {name: switches(server.pid) for name, server in servers.items()}
    time.sleep(IDLE_S)
    print("\n### DNS: idle, after all that\n")
    lines = [["", "PSS MiB", "private dirty", f"wake-ups in {IDLE_S} s"], ["---"] * 4]
    for name, server in servers.items():
        figures = smaps(server.pid)
        woken = switches(server.pid) - before[name]
        pss, wakeups = f"{figures['Pss']:.1f}", str(woken)
        if name == OURS:
            pss += f" ({judge('resolver: PSS MiB', '', figures['Pss'], MEMORY_LIMIT_MIB)})"
            wakeups += f" ({judge(f'resolver: wake-ups in {IDLE_S} s', '', woken, 0)})"
        lines.append([name, pss, f"{figures['Private_Dirty']:.1f}", wakeups])
    print_table(lines)
