"""What a cgroup has used: CPU, memory, pids, block I/O, by the kernel's own counters.

Sources: the kernel's cgroup-v2.rst and cgroup-v1/{memory,cpuacct,pids,blkio-controller}.rst.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runengine.cgroups.files import fields, number, text
from runengine.cgroups.layout import UNIFIED

if TYPE_CHECKING:
    from collections.abc import Mapping

# What cgroup v1 answers where there is no limit: the largest page count of a signed 64-bit size.
_V1_UNLIMITED = (1 << 63) - (1 << 20)
_NS_PER_US = 1000


class Counters(NamedTuple):
    """A snapshot; None stands for what this kernel does not count."""

    cpu_ns: int | None = None
    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    memory_limit_bytes: int | None = None
    """None also without a limit."""
    oom_kills: int | None = None
    pids: int | None = None
    pids_limit: int | None = None
    read_bytes: int | None = None
    write_bytes: int | None = None


def read(dirs: Mapping[str, str]) -> Counters:
    """The counters of ``layout.cgroup_dirs``; all None once the cgroup is gone."""
    if set(dirs) == {UNIFIED}:
        return _read_v2(dirs[UNIFIED])
    return _read_v1(dirs)


def _read_v2(directory: str) -> Counters:
    usage_us = fields(f"{directory}/cpu.stat").get("usage_usec")
    read_bytes, write_bytes = _io_v2(text(f"{directory}/io.stat"))
    return Counters(
        cpu_ns=None if usage_us is None else usage_us * _NS_PER_US,
        memory_bytes=number(f"{directory}/memory.current"),
        memory_peak_bytes=number(f"{directory}/memory.peak"),
        memory_limit_bytes=number(f"{directory}/memory.max"),
        oom_kills=fields(f"{directory}/memory.events").get("oom_kill"),
        pids=number(f"{directory}/pids.current"),
        pids_limit=number(f"{directory}/pids.max"),
        read_bytes=read_bytes,
        write_bytes=write_bytes,
    )


def _read_v1(dirs: Mapping[str, str]) -> Counters:
    memory, pids = dirs.get("memory", ""), dirs.get("pids", "")
    limit = number(f"{memory}/memory.limit_in_bytes")
    read_bytes, write_bytes = _io_v1(
        text(f"{dirs.get('blkio', '')}/blkio.throttle.io_service_bytes_recursive")
    )
    return Counters(
        cpu_ns=number(f"{dirs.get('cpuacct', '')}/cpuacct.usage"),
        memory_bytes=number(f"{memory}/memory.usage_in_bytes"),
        memory_peak_bytes=number(f"{memory}/memory.max_usage_in_bytes"),
        memory_limit_bytes=None if limit is None or limit >= _V1_UNLIMITED else limit,
        oom_kills=fields(f"{memory}/memory.oom_control").get("oom_kill"),
        pids=number(f"{pids}/pids.current"),
        pids_limit=number(f"{pids}/pids.max"),
        read_bytes=read_bytes,
        write_bytes=write_bytes,
    )


def unreclaimable_bytes(dirs: Mapping[str, str]) -> int | None:
    """What cgroup v2 could only win back by swapping or killing; None in v1, where nobody asks."""
    if set(dirs) != {UNIFIED}:
        return None
    stat = fields(f"{dirs[UNIFIED]}/memory.stat")
    return sum(stat.get(name, 0) for name in ("anon", "shmem", "kernel_stack", "pagetables"))


def _io_v2(content: str | None) -> tuple[int | None, int | None]:
    """Sum of ``8:0 rbytes=1 wbytes=2 ...`` over the devices."""
    if content is None:
        return None, None
    totals = {"rbytes": 0, "wbytes": 0}
    for word in content.split():
        key, equals, value = word.partition("=")
        if equals and key in totals:
            totals[key] += int(value)
    return totals["rbytes"], totals["wbytes"]


def _io_v1(content: str | None) -> tuple[int | None, int | None]:
    """Sum of ``8:0 Read 1`` and ``8:0 Write 2`` over the devices."""
    if content is None:
        return None, None
    totals = {"Read": 0, "Write": 0}
    for line in content.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in totals:
            totals[words[1]] += int(words[2])
    return totals["Read"], totals["Write"]
