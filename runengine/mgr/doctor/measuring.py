"""What decides about measurements on this host: nothing is wrong with any of it.

Sources: the kernel's admin-guide/pm/cpufreq.rst, admin-guide/hw-vuln, ABI/testing/sysfs-devices-
system-cpu, ABI/stable/sysfs-devices-node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.cgroups import numa
from runengine.cgroups.machine import parse_list, show_list
from runengine.mgr.doctor.host import OK, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.doctor.host import Host

_DEVICES = "/sys/devices/system"
_CPU = f"{_DEVICES}/cpu"


def nodes(host: Host) -> Iterator[Finding]:
    """What ``--numa-node`` can be."""
    found = numa.read(host.path(_DEVICES))
    if found is None:
        yield Finding("NUMA", OK, "this kernel has no nodes: no --numa-node")
        return
    told = []
    for node, cpus in sorted(found.cpus.items()):
        lacks = "" if node in found.with_memory else ", no memory"
        told.append(f"node {node}: {f'CPUs {show_list(cpus)}' if cpus else 'no CPUs'}{lacks}")
    yield Finding("NUMA", OK, "; ".join(told))


def clocks(host: Host) -> Iterator[Finding]:
    """How steady the processors' frequency is."""
    told = []
    governors = {host.text(f"{_CPU}/cpu{cpu}/cpufreq/scaling_governor") for cpu in _online(host)}
    known = sorted(name.strip() for name in governors if name)
    if known:
        told.append(f"governor {', '.join(known)}")
    no_turbo = host.number(f"{_CPU}/intel_pstate/no_turbo")
    boost = host.number(f"{_CPU}/cpufreq/boost")
    if no_turbo is not None or boost is not None:
        told.append("boost off" if no_turbo == 1 or boost == 0 else "boost on")
    yield Finding("clock speed", OK, "; ".join(told) or "not this system's to set")


def cores(host: Host) -> Iterator[Finding]:
    """Whether a CPU shares its core, and which ones the scheduler leaves alone."""
    told = []
    active = host.number(f"{_CPU}/smt/active")
    if active is not None:
        told.append("two CPUs share a core" if active else "each CPU is a core")
    isolated = (host.text(f"{_CPU}/isolated") or "").strip()
    told.append(f"isolated: {isolated}" if isolated else "none isolated")
    yield Finding("cores", OK, "; ".join(told))


def store_bypass(host: Host) -> Iterator[Finding]:
    """Whether a system call filter by itself makes a process slower (before Linux 5.16)."""
    state = (host.text(f"{_CPU}/vulnerabilities/spec_store_bypass") or "").strip()
    if not state:
        return
    slowed = ": slows down whoever has a filter, unless the runtime asks it not to (runc 1.2)"
    yield Finding("store bypass", OK, state + (slowed if "seccomp" in state else ""))


def _online(host: Host) -> list[int]:
    try:
        return sorted(parse_list((host.text(f"{_CPU}/online") or "").strip()))
    except ValueError:
        return []


CHECKS = (nodes, clocks, cores, store_bypass)
