"""What a cgroup has used: CPU, memory, pids, block I/O, by the kernel's own counters.

Sources: the kernel's cgroup-v2.rst and cgroup-v1/{memory,cpuacct,pids,blkio-controller}.rst.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

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
    usage_us = _fields(f"{directory}/cpu.stat").get("usage_usec")
    read_bytes, write_bytes = _io_v2(_text(f"{directory}/io.stat"))
    return Counters(
        cpu_ns=None if usage_us is None else usage_us * _NS_PER_US,
        memory_bytes=_number(f"{directory}/memory.current"),
        memory_peak_bytes=_number(f"{directory}/memory.peak"),
        memory_limit_bytes=_number(f"{directory}/memory.max"),
        oom_kills=_fields(f"{directory}/memory.events").get("oom_kill"),
        pids=_number(f"{directory}/pids.current"),
        pids_limit=_number(f"{directory}/pids.max"),
        read_bytes=read_bytes,
        write_bytes=write_bytes,
    )


def _read_v1(dirs: Mapping[str, str]) -> Counters:
    memory, pids = dirs.get("memory", ""), dirs.get("pids", "")
    limit = _number(f"{memory}/memory.limit_in_bytes")
    read_bytes, write_bytes = _io_v1(
        _text(f"{dirs.get('blkio', '')}/blkio.throttle.io_service_bytes_recursive")
    )
    return Counters(
        cpu_ns=_number(f"{dirs.get('cpuacct', '')}/cpuacct.usage"),
        memory_bytes=_number(f"{memory}/memory.usage_in_bytes"),
        memory_peak_bytes=_number(f"{memory}/memory.max_usage_in_bytes"),
        memory_limit_bytes=None if limit is None or limit >= _V1_UNLIMITED else limit,
        oom_kills=_fields(f"{memory}/memory.oom_control").get("oom_kill"),
        pids=_number(f"{pids}/pids.current"),
        pids_limit=_number(f"{pids}/pids.max"),
        read_bytes=read_bytes,
        write_bytes=write_bytes,
    )


def unreclaimable_bytes(dirs: Mapping[str, str]) -> int | None:
    """What cgroup v2 could only win back by swapping or killing; None in v1, where nobody asks."""
    if set(dirs) != {UNIFIED}:
        return None
    stat = _fields(f"{dirs[UNIFIED]}/memory.stat")
    return sum(stat.get(name, 0) for name in ("anon", "shmem", "kernel_stack", "pagetables"))


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return None


def _number(path: str) -> int | None:
    """The file's number; None for ``max`` and where there is no such file."""
    text = (_text(path) or "").strip()
    return int(text) if text.isdigit() else None


def _fields(path: str) -> dict[str, int]:
    """A flat-keyed file: one ``name value`` a line."""
    found = {}
    for line in (_text(path) or "").splitlines():
        name, _, value = line.partition(" ")
        if value.isdigit():
            found[name] = int(value)
    return found


def _io_v2(text: str | None) -> tuple[int | None, int | None]:
    """Sum of ``8:0 rbytes=1 wbytes=2 ...`` over the devices."""
    if text is None:
        return None, None
    totals = {"rbytes": 0, "wbytes": 0}
    for word in text.split():
        key, equals, value = word.partition("=")
        if equals and key in totals:
            totals[key] += int(value)
    return totals["rbytes"], totals["wbytes"]


def _io_v1(text: str | None) -> tuple[int | None, int | None]:
    """Sum of ``8:0 Read 1`` and ``8:0 Write 2`` over the devices."""
    if text is None:
        return None, None
    totals = {"Read": 0, "Write": 0}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in totals:
            totals[words[1]] += int(words[2])
    return totals["Read"], totals["Write"]
