"""NUMA nodes: what is on each, and a container that is kept to some of them.

Sources: the kernel's ABI/stable/sysfs-devices-node, admin-guide/mm/numaperf.rst; cpuset(7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runengine.cgroups.files import text
from runengine.cgroups.limits import check_list
from runengine.cgroups.machine import SYSFS, parse_list, show_list
from runengine.errors import InvalidParameter, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runengine.cgroups.features import Features
    from runengine.cgroups.machine import Machine
    from runengine.model import HostConfig

FLAG = "--numa-node"


class Nodes(NamedTuple):
    """The host's nodes."""

    possible: frozenset[int]
    """Those that may be there one day, too."""
    with_memory: frozenset[int]
    cpus: Mapping[int, frozenset[int]]
    """The online CPUs of each online node, which may be none."""


def read(sysfs: str = SYSFS) -> Nodes | None:
    """The host's nodes; None where the kernel knows of none."""
    folder = f"{sysfs}/node"
    online = _list(f"{folder}/online")
    if not online:
        return None
    return Nodes(
        _list(f"{folder}/possible") or online,
        _list(f"{folder}/has_memory"),
        {node: _list(f"{folder}/node{node}/cpulist") for node in online},
    )


def _list(path: str) -> frozenset[int]:
    try:
        return parse_list((text(path) or "").strip())
    except ValueError:
        return frozenset()


def bind(
    host: HostConfig, features: Features, machine: Machine, nodes: Nodes | None
) -> HostConfig:
    """The configuration with the CPUs and the memory of the nodes that it asks for.

    What it says of CPUs and memory nodes itself may be a part of them. Raises InvalidParameter, or
    Unsupported where nothing could keep the container there.
    """
    asked = host.get("NumaNode", "")
    if not asked:
        return host
    chosen = check_list(asked, FLAG)
    if nodes is None or not (features.cpuset_cpus and features.cpuset_mems):
        missing = "no NUMA nodes" if nodes is None else "no cpuset controller"
        raise Unsupported(
            f"{FLAG} {asked}: this kernel has {missing}", resolution=f"leave {FLAG} out"
        )
    for node in sorted(chosen):
        _check(node, nodes)
    cpus = frozenset().union(*(nodes.cpus[node] for node in chosen))
    usable = cpus if machine.cpus is None else cpus & machine.cpus
    memory = chosen if machine.memory_nodes is None else chosen & machine.memory_nodes
    if not usable or memory != chosen:
        raise InvalidParameter(
            f"invalid {FLAG} {asked}: the host's root cpuset lets nobody use"
            f" {'its memory' if usable else f'its CPUs {show_list(cpus)}'}",
        )
    return {
        **host,
        "CpusetCpus": _part(asked, "--cpuset-cpus", host["CpusetCpus"], usable),
        "CpusetMems": _part(asked, "--cpuset-mems", host["CpusetMems"], memory),
    }


def _check(node: int, nodes: Nodes) -> None:
    """Raise InvalidParameter for a node that has not both processors and memory."""
    found = nodes.cpus.get(node)
    if found is None:
        what = "is offline" if node in nodes.possible else "does not exist"
        raise InvalidParameter(
            f"invalid {FLAG} {node}: the node {what}",
            resolution=f"this host's nodes: {_show(nodes.cpus)}",
        )
    if not found or node not in nodes.with_memory:
        lacks, flags = "online CPU", f"--cpuset-cpus with --cpuset-mems {node}"
        if found:
            lacks, flags = "memory", f"--cpuset-cpus {show_list(found)} with --cpuset-mems"
        raise InvalidParameter(
            f"invalid {FLAG} {node}: the node has no {lacks}", resolution=f"use {flags}"
        )


def _part(asked: str, flag: str, given: str, whole: frozenset[int]) -> str:
    """The list given, which must be a part of the whole; without one the whole."""
    if not given:
        return show_list(whole)
    if not check_list(given, flag) <= whole:
        raise InvalidParameter(
            f"{flag} {given} goes beyond {FLAG} {asked}, which has {show_list(whole)}",
            resolution=f"name a part of these, or leave one of {flag} and {FLAG} out",
        )
    return given


def _show(numbers: Iterable[int]) -> str:
    return show_list(frozenset(numbers))
