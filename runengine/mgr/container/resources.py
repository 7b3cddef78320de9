"""New limits for a container: on paper, and in the cgroups of one that lives."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from runengine.errors import Conflict, EngineError, InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runengine.cgroups.control import Kept
    from runengine.cgroups.machine import Machine
    from runengine.mgr.container.context import Context
    from runengine.model import HostConfig, ThrottleDevice
    from runengine.store.containers import Record

UPDATABLE = frozenset(
    {
        "BlkioWeight",
        "BlkioDeviceReadBps",
        "BlkioDeviceWriteBps",
        "BlkioDeviceReadIOps",
        "BlkioDeviceWriteIOps",
        "CpuPeriod",
        "CpuQuota",
        "CpuRealtimePeriod",
        "CpuRealtimeRuntime",
        "CpuShares",
        "CpusetCpus",
        "CpusetMems",
        "Memory",
        "MemoryReservation",
        "MemorySwap",
        "NanoCpus",
        "NumaNode",
        "PidsLimit",
    }
)

# What an update may not mix, and what Docker's engine says then.
_EXCLUSIONS = (
    ("NanoCpus", "CpuQuota", "Nano CPUs cannot be updated as CPU Quota has already been set"),
    ("NanoCpus", "CpuPeriod", "Nano CPUs cannot be updated as CPU Period has already been set"),
    ("CpuQuota", "NanoCpus", "CPU Quota cannot be updated as NanoCPUs has already been set"),
    ("CpuPeriod", "NanoCpus", "CPU Period cannot be updated as NanoCPUs has already been set"),
)

# Part of a control file's name, in an error of the runtime's, and the flag that it comes from.
_FLAGS = (
    ("memsw", "--memory-swap"),
    ("memory.swap", "--memory-swap"),
    ("soft_limit", "--memory-reservation"),
    ("memory.low", "--memory-reservation"),
    ("memory", "--memory"),
    ("cpuset.cpus", "--cpuset-cpus"),
    ("cpuset.mems", "--cpuset-mems"),
    ("rt_period", "--cpu-rt-period"),
    ("rt_runtime", "--cpu-rt-runtime"),
    ("cfs_period", "--cpu-period"),
    ("cfs_quota", "--cpu-quota"),
    ("cpu.max", "--cpu-quota"),
    ("shares", "--cpu-shares"),
    ("weight", "--blkio-weight"),
    ("read_bps", "--device-read-bps"),
    ("write_bps", "--device-write-bps"),
    ("read_iops", "--device-read-iops"),
    ("write_iops", "--device-write-iops"),
    ("pids", "--pids-limit"),
)


class Merged(NamedTuple):
    """A configuration with the new limits, and what the user must hear."""

    host: HostConfig
    warnings: list[str]


def given(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that say something; zero, empty and None leave things as they are.

    But for ``PidsLimit``, where 0 is no limit. Raises InvalidParameter for one that cannot change.
    """
    found = {
        key: value
        for key, value in wanted.items()
        if value or (key == "PidsLimit" and value is not None)
    }
    for key in found:
        if key not in UPDATABLE and key != "KernelMemory":
            raise InvalidParameter(
                f"{key} cannot be changed by an update",
                resolution=f"what can: {', '.join(sorted(UPDATABLE))}",
            )
    return found


def merge(context: Context, record: Record, wanted: dict[str, Any]) -> Merged:
    """The container's configuration with ``wanted`` (of ``given``) over it, checked as a whole.

    Raises InvalidParameter, or Conflict for what does not go with what the container has.
    """
    from runengine.cgroups import control, features, limits, machine

    warnings = [limits.KERNEL_MEMORY_WARNING] if wanted.pop("KernelMemory", 0) else []
    before = record.host_config
    _check_against(before, wanted)
    host = cast("HostConfig", {**before, **wanted})
    found = machine.probe()
    if host.get("NumaNode"):
        host = _on_nodes(host, wanted, found)
    if host.get("ExecCPUAffinity"):
        from runengine.mgr.container import affinity

        affinity.check(host["ExecCPUAffinity"], host, found)
    for key in control.THROTTLES:
        if key in wanted:
            _rates(wanted[key])
    checked = limits.check(
        host,
        features.probe(),
        min_memory_bytes=context.config.min_memory_bytes,
        machine=found,
    )
    advice = () if {"Memory", "MemorySwap"} & wanted.keys() else (limits.SWAP_ADVICE,)
    known = (*advice, limits.OOM_ADVICE)
    return Merged(checked.host, warnings + [one for one in checked.warnings if one not in known])


def _on_nodes(host: HostConfig, wanted: Mapping[str, Any], found: Machine) -> HostConfig:
    """With the CPUs and memory of its NUMA nodes; new nodes leave nothing of the old ones."""
    from runengine.cgroups import features, numa

    if "NumaNode" in wanted:
        cpus, mems = wanted.get("CpusetCpus", ""), wanted.get("CpusetMems", "")
        host = {**host, "CpusetCpus": cpus, "CpusetMems": mems}
    return numa.bind(host, features.probe(), found, numa.read())


def _check_against(before: HostConfig, wanted: Mapping[str, Any]) -> None:
    for key, other, text in _EXCLUSIONS:
        if key in wanted and before[other] and other not in wanted:  # type: ignore[literal-required]
            raise Conflict(
                f"Conflicting options: {text}", resolution="make the container anew to change over"
            )
    if 0 < before["MemorySwap"] < wanted.get("Memory", 0) and "MemorySwap" not in wanted:
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the"
            " memoryswap at the same time",
            resolution="give --memory-swap too; -1 is no limit",
        )


@contextmanager
def applied(context: Context, record: Record, host: HostConfig) -> Iterator[None]:
    """Give a live container the limits of ``host``; they are taken back if the block fails.

    All or nothing, frozen containers too. Raises EngineError naming the flag that was refused.
    """
    from runengine.cgroups import control

    kept = control.Kept(record.details["cgroup"])
    try:
        try:
            _apply(context, record, host)
        except EngineError as error:
            raise _named(record, error) from error
        except OSError as error:
            raise _named(record, EngineError(f"{error.filename}: {error.strerror}")) from error
        yield
    except BaseException:
        _take_back(context, record, host, kept)
        raise


def _apply(context: Context, record: Record, host: HostConfig) -> None:
    from runengine.mgr.container.runtime import runtime_of
    from runengine.oci_spec.opts import resources

    _refuse_killing(record, host)
    if host["CpuRealtimeRuntime"] > record.host_config["CpuRealtimeRuntime"]:
        from runengine.mgr.container import realtime

        realtime.make_room(record._replace(host_config=host))
    changes = resources.changes(host, context.config.default_pids_limit)
    runtime_of(context, record).update(record.id, changes)
    _set_rates(record, record.host_config, host)


def _take_back(context: Context, record: Record, host: HostConfig, kept: Kept) -> None:
    """Whatever of ``host`` holds by now: what systemd was told, then the control files."""
    if record.details.get("cgroup_driver") == "systemd":
        from runengine.mgr.container.runtime import runtime_of
        from runengine.oci_spec.opts import resources

        before = resources.lifted(record.host_config, context.config.default_pids_limit)
        with suppress(EngineError):
            runtime_of(context, record).update(record.id, before)
    kept.restore()
    with suppress(OSError, EngineError):
        _set_rates(record, host, record.host_config)


def _refuse_killing(record: Record, host: HostConfig) -> None:
    """In v1 the kernel refuses a limit that is below what is in use; in v2 it kills for it."""
    from runengine.cgroups import counters

    memory, swap, before = host["Memory"], host["MemorySwap"], record.host_config["Memory"]
    if not memory or 0 < before <= memory or swap == -1:
        return
    needed = counters.unreclaimable_bytes(record.details["cgroup"])
    if needed is not None and needed > max(memory, swap):
        raise InvalidParameter(
            f"--memory {memory}: the container's processes use {needed} bytes that cannot be"
            " reclaimed, some would be killed",
            resolution="raise --memory, or stop the container first",
        )


def _set_rates(record: Record, before: HostConfig, after: HostConfig) -> None:
    """The limits of single devices, which the runtime's ``update`` does not know."""
    from runengine.cgroups import control

    for key in control.THROTTLES:
        if before[key] != after[key]:  # type: ignore[literal-required]  # HostConfig's four lists
            wanted = _rates(after[key])  # type: ignore[literal-required]
            control.apply(control.rates(record.details["cgroup"], key, wanted))


def _rates(entries: list[ThrottleDevice]) -> dict[tuple[int, int], int]:
    from runengine.linux import devices

    found = {}
    for entry in entries:
        try:
            found[devices.block_number(entry["Path"])] = entry["Rate"]
        except (OSError, ValueError) as error:
            raise InvalidParameter(f"block device {entry['Path']}: {error.args[-1]}") from None
    return found


def _named(record: Record, error: EngineError) -> EngineError:
    """The error with the container's name and, where it tells, the flag's."""
    flag = next((flag for word, flag in _FLAGS if word in error.brief), "")
    about = f"{flag}: " if flag and flag not in error.brief else ""
    return type(error)(
        f"cannot update container {record.name}: {about}{error.brief}",
        details=error.details,
        resolution=error.resolution,
    )
