"""Check and complete the resource limits of a container against this host.

A limit that the kernel cannot enforce is discarded with a warning; one that makes no sense is
refused, whatever the cgroup version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.cgroups.machine import Machine, parse_list, show_list
from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runengine.cgroups.features import Features
    from runengine.model import HostConfig

DEFAULT_MIN_MEMORY_BYTES = 4 << 20
UNLIMITED = -1
CPU_SHARES = (2, 262144)
"""What the kernel takes; the runtime refuses what it would have to bend."""
NANO = 1_000_000_000
MOST_QUOTA_US = (1 << 44) - 1
"""Above it the kernel's scheduler cannot count."""
MOST_PIDS = 1 << 22
"""As many as a kernel of 64 bits can ever have."""
MOST_BYTES = (1 << 63) - 1
MOST_RATE = (1 << 64) - 1
LITTLE_MEMORY_BYTES = 2 << 30
UNKNOWN = Machine()


class Checked(NamedTuple):
    """A host configuration that can be applied, and what the user must hear."""

    host: HostConfig
    warnings: list[str]


class _Rule(NamedTuple):
    feature: str
    warning: str
    reset: Mapping[str, Any]


def _rule(feature: str, text: str, **reset: Any) -> _Rule:
    return _Rule(feature, f"Current Kernel does not support {text}", reset)


# The texts are an interface: scripts match them.
_RULES = (
    _rule("memory", "memory limit, discard --memory", Memory=0, MemorySwap=0),
    _rule(
        "memory_reservation",
        "memory soft limit, discard --memory-reservation",
        MemoryReservation=0,
    ),
    _rule("memory_swap", "memory swap, discard --memory-swap", MemorySwap=0),
    _rule(
        "memory_swappiness",
        "memory swappiness , discard --memory-swappiness",
        MemorySwappiness=None,
    ),
    _rule(
        "oom_kill_disable", "disable oom kill, discard --oom-kill-disable", OomKillDisable=None
    ),
    _rule("cpuset_cpus", "cpuset cpus, discard --cpuset-cpus", CpusetCpus=""),
    _rule("cpuset_mems", "cpuset mems, discard --cpuset-mems", CpusetMems=""),
    _rule("cpu_shares", "cpu shares, discard --cpu-shares", CpuShares=0),
    _rule("cpu_quota", "cpu quota, discard --cpu-quota", CpuQuota=0),
    _rule("cpu_period", "cpu period, discard --cpu-period", CpuPeriod=0),
    _rule("cpu_quota", "cpu quota, discard --cpus", NanoCpus=0),
    _rule("cpu_realtime", "cpu real-time period, discard --cpu-rt-period", CpuRealtimePeriod=0),
    _rule(
        "cpu_realtime", "cpu real-time runtime, discard --cpu-rt-runtime", CpuRealtimeRuntime=0
    ),
    _rule("blkio_weight", "blkio weight, discard --blkio-weight", BlkioWeight=0),
    _rule(
        "blkio_weight_device",
        "blkio weight device, discard --blkio-weight-device",
        BlkioWeightDevice=[],
    ),
    _rule(
        "blkio_read_bps",
        "blkio device throttle read bps, discard --device-read-bps",
        BlkioDeviceReadBps=[],
    ),
    _rule(
        "blkio_write_bps",
        "blkio device throttle write bps, discard --device-write-bps",
        BlkioDeviceWriteBps=[],
    ),
    _rule(
        "blkio_read_iops",
        "blkio device throttle read iops, discard --device-read-iops",
        BlkioDeviceReadIOps=[],
    ),
    _rule(
        "blkio_write_iops",
        "blkio device throttle, discard --device-write-iops",
        BlkioDeviceWriteIOps=[],
    ),
    _rule("pids", "pids cgroup, discard --pids-limit", PidsLimit=0),
    _rule("hugetlb", "hugetlb cgroup, discard --hugetlb", HugetlbLimits=[]),
)
KERNEL_MEMORY_WARNING = "Current Kernel does not support kernel memory, discard --kernel-memory"
"""cgroup v2 has no such limit, and later kernels of v1 take it and do nothing."""
SWAP_ADVICE = (
    "You should typically size your swap space to approximately 2x main memory"
    " for systems with less than 2GB of RAM"
)
OOM_ADVICE = (
    "OOM killer is disabled for the container, but no memory limit is set, this can result in the"
    " system running out of resources."
)


def check(
    host: HostConfig,
    features: Features,
    *,
    min_memory_bytes: int = DEFAULT_MIN_MEMORY_BYTES,
    machine: Machine = UNKNOWN,
) -> Checked:
    """Complete and check the limits; the configuration given is left as it is.

    Units are HostConfig's. Raises InvalidParameter.
    """
    result: HostConfig = host.copy()
    if result["Memory"] > 0 and result["MemorySwap"] == 0:
        result["MemorySwap"] = min(2 * result["Memory"], MOST_BYTES)
    if result["PidsLimit"] == 0:
        result["PidsLimit"] = UNLIMITED  # 0 is left for kernels that do not count
    check_ranges(result, min_memory_bytes=min_memory_bytes, machine=machine)
    warnings = _discard(result, host, features)
    return Checked(result, warnings + _advice(result, machine))


def _advice(host: HostConfig, machine: Machine) -> list[str]:
    """What may be meant so, and mostly is not."""
    found = []
    swap, memory, total = host["MemorySwap"], host["Memory"], machine.memory_bytes
    if 0 < swap < 2 * memory and (total is None or total < LITTLE_MEMORY_BYTES):
        found.append(SWAP_ADVICE)
    if host["OomKillDisable"] and not memory:
        found.append(OOM_ADVICE)
    return found


def _discard(result: HostConfig, asked: HostConfig, features: Features) -> list[str]:
    warnings = []
    for rule in _RULES:
        if getattr(features, rule.feature):
            continue
        if any(_is_set(asked, key) for key in rule.reset) and _speaks(rule, asked):
            warnings.append(rule.warning)
        for key, value in rule.reset.items():
            if key not in result:
                continue  # HugetlbLimits, in most
            result[key] = value  # type: ignore[literal-required]  # keys of the table above
    return warnings


def _is_set(host: HostConfig, key: str) -> bool:
    value = host.get(key)
    return bool(value) or (key == "MemorySwappiness" and value == 0)


def _speaks(rule: _Rule, asked: HostConfig) -> bool:
    """A memory warning covers the swap that goes with it; -1 asks for no swappiness."""
    if rule.feature == "memory":
        return asked["Memory"] != 0
    if rule.feature == "memory_swappiness":
        return asked["MemorySwappiness"] != -1
    return True


def check_ranges(host: HostConfig, *, min_memory_bytes: int, machine: Machine) -> None:
    """Raise InvalidParameter for values that no kernel takes or that contradict each other."""
    _check_memory(host, min_memory_bytes)
    _check_cpu(host, machine)
    _check_realtime(host)
    _check_cpusets(host, machine)
    _check_block_io(host)
    _check_huge_pages(host, machine)
    pids = host["PidsLimit"]
    if pids is not None and pids > MOST_PIDS:
        raise InvalidParameter(
            f"invalid --pids-limit {pids}: no kernel has more than {MOST_PIDS}",
            resolution="use -1 for no limit",
        )
    if not -1000 <= host["OomScoreAdj"] <= 1000:
        raise InvalidParameter(
            f"invalid --oom-score-adj {host['OomScoreAdj']}: the range is -1000 to 1000"
        )
    if host["ShmSize"] < 0:
        raise InvalidParameter(
            f"invalid --shm-size {host['ShmSize']}: SHM size can not be less than 0"
        )


def _check_memory(host: HostConfig, minimum: int) -> None:
    memory, reservation, swap = host["Memory"], host["MemoryReservation"], host["MemorySwap"]
    floor = f"{minimum >> 20}M"
    if memory < 0 or 0 < memory < minimum:
        raise InvalidParameter(f"Minimal memory should greater than {floor}")
    if reservation < 0 or 0 < reservation < minimum:
        raise InvalidParameter(f"Minimal memory reservation should greater than {floor}")
    if 0 < memory < reservation:
        raise InvalidParameter(
            "Minimum memory limit should be larger than memory reservation limit"
        )
    if swap < UNLIMITED:
        raise InvalidParameter(f"invalid --memory-swap {swap}: use -1 for no limit")
    if swap > 0 and memory == 0:
        raise InvalidParameter(
            "You should always set the Memory limit when using Memoryswap limit"
        )
    if 0 < swap < memory:
        raise InvalidParameter("Minimum memoryswap limit should be larger than memory limit")
    swappiness = host["MemorySwappiness"]
    if swappiness is not None and not -1 <= swappiness <= 100:
        raise InvalidParameter(f"invalid --memory-swappiness {swappiness}: the range is 0 to 100")


def _check_cpu(host: HostConfig, machine: Machine) -> None:
    quota, period, nano = host["CpuQuota"], host["CpuPeriod"], host["NanoCpus"]
    if quota < -1 or 0 < quota < 1000:
        raise InvalidParameter(
            f"invalid --cpu-quota {quota}: CPU cfs quota cannot be less than 1ms (1000)"
        )
    if quota > MOST_QUOTA_US:
        raise InvalidParameter(
            f"invalid --cpu-quota {quota}: the most is {MOST_QUOTA_US}",
            resolution="use -1 for no limit",
        )
    if period and not 1000 <= period <= 1_000_000:
        raise InvalidParameter(
            f"invalid --cpu-period {period}: CPU cfs period must be between 1ms and 1s"
            " (1000 to 1000000)"
        )
    if nano and (quota or period):
        raise InvalidParameter(
            "--cpus and --cpu-quota or --cpu-period exclude each other",
            resolution="use one of them",
        )
    if nano < 0 or 0 < nano < 10_000_000:
        raise InvalidParameter(f"invalid --cpus {nano / NANO:g}: the least is 0.01")
    if machine.cpus is not None and nano > len(machine.cpus) * NANO:
        count = len(machine.cpus)
        raise InvalidParameter(
            f"invalid --cpus {nano / NANO:g}: this host has {count} CPUs",
            resolution=f"use 0.01 to {count}",
        )
    shares, (least, most) = host["CpuShares"], CPU_SHARES
    if shares and not least <= shares <= most:
        raise InvalidParameter(
            f"invalid --cpu-shares {shares}: the range is {least} to {most}, or 0 for the default"
        )


def _check_realtime(host: HostConfig) -> None:
    runtime, period = host["CpuRealtimeRuntime"], host["CpuRealtimePeriod"]
    for flag, value in (("--cpu-rt-runtime", runtime), ("--cpu-rt-period", period)):
        if value < 0:
            raise InvalidParameter(f"invalid {flag} {value}: it cannot be negative")
    if 0 < period < runtime:
        raise InvalidParameter(
            f"invalid --cpu-rt-runtime {runtime}: cpu real-time runtime cannot be higher than cpu"
            f" real-time period ({period})"
        )


def _check_cpusets(host: HostConfig, machine: Machine) -> None:
    for flag, text, available, what in (
        ("--cpuset-cpus", host["CpusetCpus"], machine.cpus, "CPUs"),
        ("--cpuset-mems", host["CpusetMems"], machine.memory_nodes, "memory nodes"),
    ):
        chosen = check_list(text, flag)
        if available is not None and not chosen <= available:
            raise InvalidParameter(
                f"invalid {flag} {text}: Requested {what} are not available"
                f" - requested {text}, available: {show_list(available)}"
            )


def check_list(text: str, flag: str) -> frozenset[int]:
    """The numbers of a list such as ``0-3,7``. Raises InvalidParameter naming the flag."""
    try:
        return parse_list(text)
    except ValueError:
        raise InvalidParameter(
            f"invalid {flag} {text!r}", resolution="use a list such as 0-3,7"
        ) from None


def _check_block_io(host: HostConfig) -> None:
    weights = [("--blkio-weight", host["BlkioWeight"])]
    weights += [
        (f"--blkio-weight-device {device['Path']}", device["Weight"])
        for device in host["BlkioWeightDevice"]
    ]
    for flag, weight in weights:
        if weight and not 10 <= weight <= 1000:
            raise InvalidParameter(f"invalid {flag}: {weight}: the range is 10 to 1000")
    for key in THROTTLES:
        for device in host[key]:  # type: ignore[literal-required]  # keys of the table below
            if not 0 <= device["Rate"] <= MOST_RATE:
                raise InvalidParameter(f"invalid rate {device['Rate']} for {device['Path']}")


def _check_huge_pages(host: HostConfig, machine: Machine) -> None:
    sizes = [entry["PageSize"] for entry in host.get("HugetlbLimits") or ()]
    for size in sizes:
        if sizes.count(size) > 1:
            raise InvalidParameter(f"invalid --hugetlb: {size} is there twice")
        if machine.huge_pages is not None and size not in machine.huge_pages:
            known = ", ".join(sorted(machine.huge_pages)) or "none"
            raise InvalidParameter(
                f"invalid --hugetlb {size}: this host has no such pages",
                resolution=f"its huge pages: {known}",
            )
    for entry in host.get("HugetlbLimits") or ():
        if not 0 <= entry["Limit"] <= MOST_BYTES:
            raise InvalidParameter(f"invalid --hugetlb {entry['PageSize']}:{entry['Limit']}")


THROTTLES = (
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
)
