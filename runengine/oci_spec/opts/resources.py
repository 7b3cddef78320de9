"""``linux.resources`` (config-linux.md#control-groups). Values are checked before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.model import ContainerConfig, HostConfig, ThrottleDevice, WeightDevice
    from runengine.oci_spec.facts import SpecFacts

# 100 ms, the kernel's own default (sched-bwc.rst).
DEFAULT_CPU_PERIOD_US = 100_000
NANO = 1_000_000_000
DEFAULT_CPU_SHARES = 1024
BIND = "MPOL_BIND"
"""Memory from these nodes and no others (set_mempolicy(2))."""


def set_resources(
    spec: dict[str, Any], _config: ContainerConfig, host: HostConfig, facts: SpecFacts
) -> None:
    """Memory, CPU, pids and block I/O limits; a section only where something is set."""
    sections = {
        "memory": memory(host),
        "cpu": cpu(host),
        "pids": pids(host, facts.default_pids_limit),
        "blockIO": block_io(host, facts),
        "hugepageLimits": huge_pages(host),
    }
    for name, section in sections.items():
        if section:
            spec["linux"]["resources"][name] = section


def set_memory_policy(
    spec: dict[str, Any], _config: ContainerConfig, host: HostConfig, facts: SpecFacts
) -> None:
    """``linux.memoryPolicy`` of a container on NUMA nodes, where the runtime knows it.

    Elsewhere its ``cpuset.mems`` alone keeps its memory there (config-linux.md#memory-policy).
    """
    if host.get("NumaNode") and BIND in facts.memory_policies:
        spec["linux"]["memoryPolicy"] = {"mode": BIND, "nodes": host["CpusetMems"]}


def memory(host: HostConfig) -> dict[str, Any]:
    """Bytes; swap is memory and swap together, as in cgroup v1, and -1 lifts it."""
    section: dict[str, Any] = {
        "limit": host["Memory"],
        "reservation": host["MemoryReservation"],
        "swap": host["MemorySwap"],
    }
    section = {name: value for name, value in section.items() if value}
    if host["MemorySwappiness"] not in (None, -1):
        section["swappiness"] = host["MemorySwappiness"]
    if host["OomKillDisable"]:
        section["disableOOMKiller"] = True
    return section


def cpu(host: HostConfig) -> dict[str, Any]:
    """Shares, microseconds of quota per period, and the CPUs and memory nodes allowed."""
    quota, period = host["CpuQuota"], host["CpuPeriod"]
    if host["NanoCpus"]:
        period = DEFAULT_CPU_PERIOD_US
        quota = host["NanoCpus"] * period // NANO
    section: dict[str, Any] = {
        "shares": host["CpuShares"],
        "quota": quota,
        "period": period,
        "realtimePeriod": host["CpuRealtimePeriod"],
        "realtimeRuntime": host["CpuRealtimeRuntime"],
        "cpus": host["CpusetCpus"],
        "mems": host["CpusetMems"],
    }
    return {name: value for name, value in section.items() if value}


def pids(host: HostConfig, default: int) -> dict[str, int]:
    """The container's limit, else the engine's; nothing for 0, which the kernel cannot count.

    No limit is said, too: systemd has a default of its own for scopes.
    """
    limit = default if host["PidsLimit"] is None else host["PidsLimit"]
    if host["PidsLimit"] == 0:
        return {}
    return {"limit": limit if limit > 0 else -1}


def huge_pages(host: HostConfig) -> list[dict[str, Any]]:
    """Bytes in huge pages, by their size."""
    return [
        {"pageSize": entry["PageSize"], "limit": entry["Limit"]}
        for entry in host.get("HugetlbLimits") or ()
    ]


def changes(host: HostConfig, default_pids_limit: int) -> dict[str, Any]:
    """What the runtime's ``update`` is given: everything that it can change, as it is to be.

    All of it each time: the runtime keeps what it was told last, and applies that again with the
    next update.
    """
    sections: dict[str, Any] = {
        "memory": memory(host),
        "cpu": cpu(host),
        "pids": pids(host, default_pids_limit),
        "blockIO": {"weight": host["BlkioWeight"]} if host["BlkioWeight"] else {},
    }
    return {name: section for name, section in sections.items() if section}


def lifted(host: HostConfig, default_pids_limit: int) -> dict[str, Any]:
    """The same, and what the configuration leaves open is told as no limit, or as the default."""
    sections = changes(host, default_pids_limit)
    sections["memory"] = {"limit": -1, "swap": -1, **sections.get("memory", {})}
    sections["cpu"] = {"quota": -1, "shares": DEFAULT_CPU_SHARES, **sections.get("cpu", {})}
    return sections


_THROTTLES = {
    "throttleReadBpsDevice": "BlkioDeviceReadBps",
    "throttleWriteBpsDevice": "BlkioDeviceWriteBps",
    "throttleReadIOPSDevice": "BlkioDeviceReadIOps",
    "throttleWriteIOPSDevice": "BlkioDeviceWriteIOps",
}


def block_io(host: HostConfig, facts: SpecFacts) -> dict[str, Any]:
    """Weights and rates per block device."""
    section: dict[str, Any] = {}
    if host["BlkioWeight"]:
        section["weight"] = host["BlkioWeight"]
    if host["BlkioWeightDevice"]:
        section["weightDevice"] = _weights(host["BlkioWeightDevice"], facts)
    for name, key in _THROTTLES.items():
        devices: list[ThrottleDevice] = host[key]  # type: ignore[literal-required]  # four keys
        if devices:
            section[name] = _rates(devices, facts)
    return section


def _weights(devices: Sequence[WeightDevice], facts: SpecFacts) -> list[dict[str, int]]:
    return [
        {**_number(device["Path"], facts), "weight": device["Weight"]} for device in devices
    ]


def _rates(devices: Sequence[ThrottleDevice], facts: SpecFacts) -> list[dict[str, int]]:
    return [{**_number(device["Path"], facts), "rate": device["Rate"]} for device in devices]


def _number(path: str, facts: SpecFacts) -> dict[str, int]:
    if path not in facts.block_devices:
        raise InvalidParameter(f"{path} is not a block device of this host")
    major, minor = facts.block_devices[path]
    return {"major": major, "minor": minor}
