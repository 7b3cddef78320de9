"""Where the kernel lets a container run and have its memory, beside what was asked for.

Sources: proc_pid_status(5), proc_pid_numa_maps(5), cpuset(7), the kernel's cgroup-v2.rst.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.cgroups.files import text
from runengine.cgroups.layout import UNIFIED
from runengine.cgroups.machine import parse_list, show_list
from runengine.linux import inheritance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runengine.model import HostConfig
    from runengine.store.containers import Record

_ONE_PAGE = 4096
"""As much of numa_maps as one read brings: the rest costs the process's memory a walk."""


class Placement(NamedTuple):
    """Lists such as ``0-3,7``; empty where the kernel does not tell."""

    cpus: str
    """Where the init may run: what its control group allows, and it has not given up itself."""
    mems: str
    cgroup_cpus: str
    cgroup_mems: str
    policy: str
    """The init's memory policy in the kernel's words: ``default``, ``bind:0``."""
    own_pages: Mapping[int, int]
    """Pages of its own memory by node, of those that were read."""


def read(pid: int, cgroup: Mapping[str, str], *, whole: bool = False) -> Placement:
    """The placement of process ``pid`` and of its cgroup. ``whole``: look at all of its memory.

    Raises OSError if there is no such process.
    """
    status = inheritance.read_status(pid)
    maps = _numa_maps(pid, whole=whole)
    return Placement(
        inheritance.field(status, b"Cpus_allowed_list").decode(),
        inheritance.field(status, b"Mems_allowed_list").decode(),
        _effective(cgroup, "cpus"),
        _effective(cgroup, "mems"),
        _policy(maps),
        _own_pages(maps),
    )


def _numa_maps(pid: int, *, whole: bool) -> str:
    """Empty on kernels without NUMA."""
    try:
        fd = os.open(f"/proc/{pid}/numa_maps", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        data = os.read(fd, _ONE_PAGE)
        while whole and (more := os.read(fd, _ONE_PAGE)):
            data += more
    except OSError:
        return ""  # it has ended
    finally:
        os.close(fd)
    return data.decode("ascii", "replace")


def _effective(cgroup: Mapping[str, str], word: str) -> str:
    if "cpuset" in cgroup:
        return (text(f"{cgroup['cpuset']}/cpuset.effective_{word}") or "").strip()
    return (text(f"{cgroup.get(UNIFIED, '')}/cpuset.{word}.effective") or "").strip()


def _policy(maps: str) -> str:
    """Of the first mapping: they differ only where the program has said so (mbind(2))."""
    words = maps.partition("\n")[0].split()
    return words[1] if len(words) > 1 else ""


def _own_pages(maps: str) -> dict[int, int]:
    """Pages by node in mappings of no file; a file's may have been in memory before."""
    found: dict[int, int] = {}
    for line in maps.splitlines():
        words = line.split()
        if any(word.startswith("file=") for word in words):
            continue
        for word in words:
            node, equals, count = word.partition("=")
            if equals and node[:1] == "N" and node[1:].isdigit() and count.isdigit():
                found[int(node[1:])] = found.get(int(node[1:]), 0) + int(count)
    return found


def cpus_of(host: HostConfig) -> list[int]:
    """The CPUs that a container has for itself; none if it runs where its caller may."""
    return sorted(_numbers(host["CpusetCpus"]))


def deviations(host: HostConfig, found: Placement, *, policy: str = "") -> list[str]:
    """In what the kernel has not done what was asked; ``policy`` is the runtime's order.

    A process that keeps to fewer CPUs has chosen so itself; one that may run elsewhere has not.
    """
    told = []
    for flag, asked, of_group, of_init in (
        ("--cpuset-cpus", host["CpusetCpus"], found.cgroup_cpus, found.cpus),
        ("--cpuset-mems", host["CpusetMems"], found.cgroup_mems, found.mems),
    ):
        wanted = _numbers(asked)
        if not wanted:
            continue
        if of_group and _numbers(of_group) != wanted:
            told.append(f"{flag} {asked}: its control group has {of_group}")
        if not _numbers(of_init) <= wanted:
            told.append(f"{flag} {asked}: its first process is on {of_init}")
    if policy and found.policy and not found.policy.startswith(policy):
        told.append(f"memory policy {policy}: the kernel has {found.policy} for it")
    nodes = _numbers(host["CpusetMems"])
    if nodes and not found.own_pages.keys() <= nodes:
        where = show_list(frozenset(found.own_pages) - nodes)
        told.append(f"--cpuset-mems {host['CpusetMems']}: memory of it is on node {where}")
    return told


def check(record: Record, pid: int, policy: Mapping[str, str] | None = None) -> list[str]:
    """What is to be told of a container whose init is ``pid``.

    ``policy`` is the ``linux.memoryPolicy`` that it was started with.
    """
    wanted = f"bind:{policy['nodes']}" if policy else ""
    try:
        found = read(pid, record.details["cgroup"], whole=True)
    except OSError:
        return []  # it has ended already
    told = deviations(record.host_config, found, policy=wanted)
    return [f"container {record.name} is not where it was asked to be: {text}" for text in told]


def _numbers(listed: str) -> frozenset[int]:
    try:
        return parse_list(listed)
    except ValueError:
        return frozenset()


def document(host: HostConfig, pid: int, cgroup: Mapping[str, str]) -> dict[str, Any] | None:
    """What ``inspect`` shows of a container that lives; None if it has just ended."""
    try:
        found = read(pid, cgroup)
    except OSError:
        return None
    return {
        "Cpus": found.cpus,
        "Mems": found.mems,
        "CgroupCpus": found.cgroup_cpus,
        "CgroupMems": found.cgroup_mems,
        "MemoryPolicy": found.policy,
        "Deviations": deviations(host, found),
    }
