"""CPU time of the engines alone, on a machine where others work as well.

The benchmark and what it starts (commands, daemons, monitors) account into a cgroup of their own,
containers into their engine's. Engines take turns and the others are idle meanwhile, so what all
these cgroups use during a call is the call's. Without cgroup v1 it is the whole machine's time.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.bench.processes import GONE, kill

if TYPE_CHECKING:
    from collections.abc import Iterator

CGROUPS = Path("/sys/fs/cgroup")
CPUACCT = CGROUPS / "cpuacct"
OWN = f"runengine-bench-{os.getpid()}"
PARENTS = ("docker", "runengine", "libpod_parent")
"""Where the engines put their containers."""
DEATH_S = 10


class _Meter:
    """The counters that are read; none before ``metering``."""

    counters: tuple[Path, ...] = ()


def cpu_seconds() -> float:
    """CPU time used so far; only differences mean something."""
    if _Meter.counters:
        return sum(int(counter.read_text()) for counter in _Meter.counters) / 1e9
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    idle = int(fields[3]) + int(fields[4])  # proc_stat(5): idle and iowait
    return (sum(map(int, fields)) - idle) / os.sysconf("SC_CLK_TCK")


def scope() -> str:
    """What ``cpu_seconds`` counts, in words."""
    return "of the engines" if _Meter.counters else "of the whole machine"


@contextmanager
def metering() -> Iterator[None]:
    """Account this process and what it starts apart from the rest of the machine.

    What is left of it at the end is killed: engines that were interrupted leave processes behind.
    """
    try:
        with _accounting():
            yield
    finally:
        _clear_away()


@contextmanager
def _accounting() -> Iterator[None]:
    if not (CPUACCT / "cpuacct.usage").exists():
        yield
        return
    before = _own_group()
    with ExitStack() as stack:
        groups = [stack.enter_context(_held(CPUACCT / name)) for name in (OWN, *PARENTS)]
        (groups[0] / "cgroup.procs").write_text("0")
        _Meter.counters = tuple(group / "cpuacct.usage" for group in groups)
        try:
            yield
        finally:
            _Meter.counters = ()
            (before / "cgroup.procs").write_text("0")


def _clear_away() -> None:
    """Kill who is in the benchmark's cgroups, and remove these; bare ``runc`` has some as well."""
    tops = [CGROUPS / OWN, *CGROUPS.glob(f"*/{OWN}")]
    groups = [Path(name) for top in tops for name, *_ in os.walk(top, topdown=False)]
    kill(pid for group in groups for pid in members(group))
    deadline = time.monotonic() + DEATH_S
    for group in groups:
        while any(members(group)) and time.monotonic() < deadline:
            time.sleep(0.01)
        with suppress(OSError):
            group.rmdir()


def members(group: Path) -> Iterator[int]:
    """The processes in a cgroup."""
    with suppress(*GONE):
        yield from map(int, (group / "cgroup.procs").read_text().split())


@contextmanager
def left_out() -> Iterator[None]:
    """Start what is nobody's work, as a server that all engines use, outside of the account."""
    if not _Meter.counters:
        yield
        return
    (CPUACCT / "cgroup.procs").write_text("0")
    try:
        yield
    finally:
        (CPUACCT / OWN / "cgroup.procs").write_text("0")


@contextmanager
def _held(group: Path) -> Iterator[Path]:
    """A cgroup that stays, and its count with it, while an engine removes empty ones."""
    was_there = group.exists()
    hold = group / f"hold-{os.getpid()}"  # another benchmark may run
    hold.mkdir(parents=True, exist_ok=True)
    try:
        yield group
    finally:
        for directory in (hold,) if was_there else (hold, group):
            with suppress(OSError):  # a container of somebody else is in it
                directory.rmdir()


def _own_group() -> Path:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(","):
            return CPUACCT / path.lstrip("/")
    return CPUACCT
