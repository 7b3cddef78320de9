"""``update``: limits and settings of containers that exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runengine.cli import at_once, context
from runengine.cli import run_values as values
from runengine.cli.command import argument, command
from runengine.cli.flags import flag
from runengine.errors import InvalidParameter
from runengine.oci_spec import disk_quota

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runengine.mgr.engine import Engine

# Flags whose value goes to one field of the host's configuration as it is.
RESOURCES = {
    "blkio_weight": "BlkioWeight",
    "cpu_period": "CpuPeriod",
    "cpu_quota": "CpuQuota",
    "cpu_rt_period": "CpuRealtimePeriod",
    "cpu_rt_runtime": "CpuRealtimeRuntime",
    "cpu_shares": "CpuShares",
    "cpus": "NanoCpus",
    "cpuset_cpus": "CpusetCpus",
    "cpuset_mems": "CpusetMems",
    "device_read_bps": "BlkioDeviceReadBps",
    "device_read_iops": "BlkioDeviceReadIOps",
    "device_write_bps": "BlkioDeviceWriteBps",
    "device_write_iops": "BlkioDeviceWriteIOps",
    "kernel_memory": "KernelMemory",
    "memory": "Memory",
    "memory_reservation": "MemoryReservation",
    "memory_swap": "MemorySwap",
    "numa_node": "NumaNode",
    "pids_limit": "PidsLimit",
}

_PARAMS = (
    flag("--annotation", "list", help="Add an annotation, for the next start (KEY=VALUE)"),
    flag("--blkio-weight", "int", help="Block IO (relative weight), between 10 and 1000, or 0"),
    flag("--cpu-period", "int", help="Limit CPU CFS (Completely Fair Scheduler) period"),
    flag("--cpu-quota", "int", help="Limit CPU CFS (Completely Fair Scheduler) quota"),
    flag("--cpu-rt-period", "int", help="Limit the CPU real-time period in microseconds"),
    flag("--cpu-rt-runtime", "int", help="Limit the CPU real-time runtime in microseconds"),
    flag("-c --cpu-shares", "int", help="CPU shares (relative weight)"),
    flag("--cpus", help="Number of CPUs", convert=values.nano_cpus),
    flag("--cpuset-cpus", help="CPUs in which to allow execution (0-3, 0,1)"),
    flag("--cpuset-mems", help="MEMs in which to allow execution (0-3, 0,1)"),
    flag("--device-read-bps", "list", help="Limit read rate (bytes per second) from a device",
         convert=values.byte_rate),
    flag("--device-read-iops", "list", help="Limit read rate (IO per second) from a device",
         convert=values.operation_rate),
    flag("--device-write-bps", "list", help="Limit write rate (bytes per second) to a device",
         convert=values.byte_rate),
    flag("--device-write-iops", "list", help="Limit write rate (IO per second) to a device",
         convert=values.operation_rate),
    flag("--disk-quota", "list", help="Limit what the container may write ([PLACE=]SIZE)"),
    flag("-e --env", "list", help="Set an environment variable (KEY removes it)"),
    flag("--kernel-memory", hidden=True, convert=values.size),
    flag("-l --label", "list", help="Set meta data (KEY removes it)"),
    flag("-m --memory", help="Memory limit", convert=values.size),
    flag("--memory-reservation", help="Memory soft limit", convert=values.size),
    flag("--memory-swap", help="Limit on memory plus swap: '-1' to enable unlimited swap",
         convert=values.size_or_unlimited),
    flag("--numa-node", help="NUMA nodes to keep to, CPUs and memory (0, 0-1)"),
    flag("--pids-limit", "int", help="Tune container pids limit (set -1 for unlimited)"),
    flag("--restart", help="Restart policy to apply when a container exits, as for run",
         convert=values.restart_policy),
)


@command(
    "update", usage="[OPTIONS] CONTAINER [CONTAINER...]", params=list(_PARAMS), latest=True
)
@argument("names", nargs=-1, required=True)
@click.pass_context
def update(ctx: click.Context, /, **params: Any) -> None:
    """Update configuration of one or more containers.

    Limits of a running or paused container change at once; all that is given, or nothing.
    """
    names = params.pop("names")
    if all(value in (None, ()) for value in params.values()):
        raise InvalidParameter("you must provide one or more flags when using this command")
    resources = {
        field: list(value) if isinstance(value, tuple) else value
        for name, field in RESOURCES.items()
        if (value := params[name]) is not None
    }

    quota, _ = disk_quota.parse_flags(params["disk_quota"])

    def act(engine: Engine, name: str) -> None:
        for text in engine.containers.update(
            name,
            resources,
            restart_policy=params["restart"],
            env=params["env"],
            labels=params["label"],
            annotations=_annotations(params["annotation"]),
            disk_quota=quota,
        ):
            context.warn(text)

    at_once.for_each(ctx, names, act)


def _annotations(items: Sequence[str]) -> Mapping[str, str]:
    pairs = {}
    for item in items:
        key, _, value = item.partition("=")
        if not key:
            raise InvalidParameter(f"invalid annotation {item!r}", resolution="use KEY=VALUE")
        pairs[key] = value
    return pairs
