"""What a cgroup uses and has used, in the shape of Docker's ``/containers/{id}/stats``.

Beside Docker's keys: ``psi``; of memory ``anon`` and ``file``, which together are most of what is
used, and ``events``, by v2's names on v1 too.

Sources: Docker Engine API, ContainerStats; the kernel's cgroup-v2.rst, accounting/psi.rst and
cgroup-v1/{memory,cpuacct,pids,blkio-controller}.rst. What this kernel does not count is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.cgroups.files import fields, number, text
from runengine.cgroups.layout import UNIFIED

if TYPE_CHECKING:
    from collections.abc import Mapping

    Document = dict[str, Any]

_NS_PER_US = 1000
# Lists of Docker's blkio_stats that no kernel since 5.0 fills, but clients look for.
_NO_LONGER_COUNTED = (
    "io_queue_recursive",
    "io_service_time_recursive",
    "io_wait_time_recursive",
    "io_merged_recursive",
    "io_time_recursive",
    "sectors_recursive",
)
# v1: the throttle's counters see all I/O, the scheduler's what passes through it.
_V1_IO = {
    "io_service_bytes_recursive": "io_service_bytes_recursive",
    "io_serviced_recursive": "io_serviced_recursive",
}
_V1_IO_PREFIXES = ("blkio.throttle", "blkio.bfq")
_V2_IO = {
    "io_service_bytes_recursive": {"rbytes": "read", "wbytes": "write"},
    "io_serviced_recursive": {"rios": "read", "wios": "write"},
}


class Usage(NamedTuple):
    """One look at a cgroup; sections by Docker's names."""

    cpu: Document
    memory: Document
    pids: Document
    blkio: Document


def read(dirs: Mapping[str, str], memory_bytes: int) -> Usage:
    """The usage of ``layout.cgroup_dirs``; limits are no larger than the host's memory."""
    if set(dirs) == {UNIFIED}:
        where = dirs[UNIFIED]
        found = Usage(_cpu_v2(where), _memory_v2(where), _pids(where), _blkio_v2(where))
    else:
        found = Usage(
            _cpu_v1(dirs),
            _memory_v1(dirs.get("memory", "")),
            _pids(dirs.get("pids", "")),
            _blkio_v1(dirs.get("blkio", "")),
        )
    found.memory["limit"] = min(found.memory.get("limit", memory_bytes), memory_bytes)
    if UNIFIED in dirs:
        _add_pressure(found, dirs[UNIFIED])
    return found


def nothing() -> Usage:
    """The usage of what does not run: Docker's zeros."""
    usage = {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0}
    return Usage({"cpu_usage": usage, "throttling_data": _throttling({})}, {}, {}, _blkio({}))


def _known(**values: int | None) -> Document:
    return {name: value for name, value in values.items() if value is not None}


def _throttling(stat: Mapping[str, int]) -> Document:
    throttled_ns = stat.get("throttled_time", stat.get("throttled_usec", 0) * _NS_PER_US)
    return {
        "periods": stat.get("nr_periods", 0),
        "throttled_periods": stat.get("nr_throttled", 0),
        "throttled_time": throttled_ns,
    }


# Version 2


def _cpu_v2(directory: str) -> Document:
    stat = fields(f"{directory}/cpu.stat")
    usage = {
        "total_usage": stat.get("usage_usec", 0) * _NS_PER_US,
        "usage_in_kernelmode": stat.get("system_usec", 0) * _NS_PER_US,
        "usage_in_usermode": stat.get("user_usec", 0) * _NS_PER_US,
    }
    return {"cpu_usage": usage, "throttling_data": _throttling(stat)}


def _memory_v2(directory: str) -> Document:
    stat, events = fields(f"{directory}/memory.stat"), fields(f"{directory}/memory.events")
    return {
        **_known(
            usage=number(f"{directory}/memory.current"),
            max_usage=number(f"{directory}/memory.peak"),
            failcnt=events.get("oom"),
            limit=number(f"{directory}/memory.max"),
            anon=stat.get("anon"),
            file=stat.get("file"),
        ),
        "stats": stat,
        "events": events,
    }


def _blkio_v2(directory: str) -> Document:
    lists: dict[str, list[Document]] = {name: [] for name in _V2_IO}
    for line in (text(f"{directory}/io.stat") or "").splitlines():
        device, *pairs = line.split()
        values = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        for name, words in _V2_IO.items():
            for word, operation in words.items():
                if word in values:
                    lists[name].append(_entry(device, operation, values[word]))
    return _blkio(lists)


# Version 1


def _cpu_v1(dirs: Mapping[str, str]) -> Document:
    account = dirs.get("cpuacct", "")
    per_cpu = text(f"{account}/cpuacct.usage_percpu")
    usage: Document = {
        "total_usage": number(f"{account}/cpuacct.usage") or 0,
        "usage_in_kernelmode": number(f"{account}/cpuacct.usage_sys") or 0,
        "usage_in_usermode": number(f"{account}/cpuacct.usage_user") or 0,
    }
    if per_cpu:
        usage["percpu_usage"] = [int(word) for word in per_cpu.split()]
    stat = fields(f"{dirs.get('cpu', '')}/cpu.stat")
    return {"cpu_usage": usage, "throttling_data": _throttling(stat)}


def _memory_v1(directory: str) -> Document:
    stat, failures = fields(f"{directory}/memory.stat"), number(f"{directory}/memory.failcnt")
    kills = fields(f"{directory}/memory.oom_control").get("oom_kill")
    return {
        **_known(
            usage=number(f"{directory}/memory.usage_in_bytes"),
            max_usage=number(f"{directory}/memory.max_usage_in_bytes"),
            failcnt=failures,
            limit=number(f"{directory}/memory.limit_in_bytes"),
            anon=stat.get("total_rss"),
            file=stat.get("total_cache"),
        ),
        "stats": stat,
        "events": _known(max=failures, oom_kill=kills),
    }


def _blkio_v1(directory: str) -> Document:
    lists: dict[str, list[Document]] = {}
    for name, file in _V1_IO.items():
        found = (text(f"{directory}/{prefix}.{file}") for prefix in _V1_IO_PREFIXES)
        content = next((one for one in found if one is not None), "")
        words = (line.split() for line in content.splitlines())
        lists[name] = [_entry(*three) for three in words if len(three) == 3]
    return _blkio(lists)


# Both


def _pids(directory: str) -> Document:
    return _known(
        current=number(f"{directory}/pids.current"), limit=number(f"{directory}/pids.max")
    )


def _entry(device: str, operation: str, value: str) -> Document:
    major, _, minor = device.partition(":")
    return {"major": int(major), "minor": int(minor), "op": operation, "value": int(value)}


def _blkio(lists: Mapping[str, list[Document]]) -> Document:
    return {
        **{name: lists.get(name) or None for name in _V2_IO},
        **dict.fromkeys(_NO_LONGER_COUNTED),
    }


def _add_pressure(found: Usage, directory: str) -> None:
    """How long tasks waited for want of it; where the kernel measures, hybrid hosts too."""
    for section, name in ((found.cpu, "cpu"), (found.memory, "memory"), (found.blkio, "io")):
        pressure = parse_pressure(text(f"{directory}/{name}.pressure") or "")
        if pressure:
            section["psi"] = pressure


def parse_pressure(content: str) -> Document:
    """``{"some": {"avg10": 0.0, ..., "total": 0}, "full": {...}}``; averages in %, total in us."""
    found: Document = {}
    for line in content.splitlines():
        kind, *pairs = line.split()
        values = dict(pair.split("=", 1) for pair in pairs)
        found[kind] = {
            name: int(value) if name == "total" else float(value)
            for name, value in values.items()
        }
    return found
