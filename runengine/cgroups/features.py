"""Which limits this kernel can enforce."""

from __future__ import annotations

import os
from typing import NamedTuple

from runengine.cgroups.layout import UNIFIED, Layout, detect


class Features(NamedTuple):
    """One flag for each option that a kernel may lack."""

    memory: bool = True
    memory_reservation: bool = True
    memory_swap: bool = True
    memory_swappiness: bool = True
    oom_kill_disable: bool = True
    cpuset_cpus: bool = True
    cpuset_mems: bool = True
    cpu_shares: bool = True
    cpu_quota: bool = True
    cpu_period: bool = True
    cpu_realtime: bool = True
    blkio_weight: bool = True
    blkio_weight_device: bool = True
    blkio_read_bps: bool = True
    blkio_write_bps: bool = True
    blkio_read_iops: bool = True
    blkio_write_iops: bool = True
    pids: bool = True
    hugetlb: bool = True

    def summary(self) -> dict[str, bool]:
        """What ``info`` warns about, in Docker's words."""
        return {
            "memory limit": self.memory,
            "swap limit": self.memory_swap,
            "cpu cfs quota": self.cpu_quota,
            "cpu cfs period": self.cpu_period,
            "cpu shares": self.cpu_shares,
            "cpuset": self.cpuset_cpus,
            "pids limit": self.pids,
            "blkio throttle": self.blkio_read_bps and self.blkio_write_bps,
        }


# Control files of cgroup v1 (cgroups(7), the kernel's cgroup-v1 documents).
_V1_FILES = {
    "memory": ("memory", "memory.limit_in_bytes"),
    "memory_reservation": ("memory", "memory.soft_limit_in_bytes"),
    "memory_swap": ("memory", "memory.memsw.limit_in_bytes"),
    "memory_swappiness": ("memory", "memory.swappiness"),
    "oom_kill_disable": ("memory", "memory.oom_control"),
    "cpuset_cpus": ("cpuset", "cpuset.cpus"),
    "cpuset_mems": ("cpuset", "cpuset.mems"),
    "cpu_shares": ("cpu", "cpu.shares"),
    "cpu_quota": ("cpu", "cpu.cfs_quota_us"),
    "cpu_period": ("cpu", "cpu.cfs_period_us"),
    "cpu_realtime": ("cpu", "cpu.rt_runtime_us"),
    "blkio_weight": ("blkio", "blkio.weight"),
    "blkio_weight_device": ("blkio", "blkio.weight_device"),
    "blkio_read_bps": ("blkio", "blkio.throttle.read_bps_device"),
    "blkio_write_bps": ("blkio", "blkio.throttle.write_bps_device"),
    "blkio_read_iops": ("blkio", "blkio.throttle.read_iops_device"),
    "blkio_write_iops": ("blkio", "blkio.throttle.write_iops_device"),
    "pids": ("pids", ""),
    "hugetlb": ("hugetlb", ""),
}
# The scheduler BFQ's weights, which the runtime uses where there are none of CFQ's. The root group
# has its counters only, and they come and go together (the kernel's block/bfq-cgroup.c).
_V1_ALTERNATIVES = {
    "blkio_weight": "blkio.bfq.io_service_bytes",
    "blkio_weight_device": "blkio.bfq.io_service_bytes",
}
# Controllers of cgroup v2 and, where a kernel option decides, a file (cgroup-v2.rst).
_V2_NEEDS = {
    "memory": ("memory", ""),
    "memory_reservation": ("memory", ""),
    "memory_swap": ("memory", "memory.swap.max"),
    "cpuset_cpus": ("cpuset", ""),
    "cpuset_mems": ("cpuset", ""),
    "cpu_shares": ("cpu", "cpu.weight"),
    "cpu_quota": ("cpu", "cpu.max"),
    "cpu_period": ("cpu", "cpu.max"),
    "blkio_weight": ("io", "io.weight io.bfq.weight"),
    "blkio_weight_device": ("io", "io.weight io.bfq.weight"),
    "blkio_read_bps": ("io", "io.max"),
    "blkio_write_bps": ("io", "io.max"),
    "blkio_read_iops": ("io", "io.max"),
    "blkio_write_iops": ("io", "io.max"),
    "pids": ("pids", ""),
    "hugetlb": ("hugetlb", ""),
}


def probe(layout: Layout | None = None) -> Features:
    """What the host's cgroups offer, by which control files are there."""
    hierarchies = layout or detect()
    return _probe_v2(hierarchies) if hierarchies.version == 2 else _probe_v1(hierarchies)


def _probe_v1(layout: Layout) -> Features:
    return Features(**{name: _has_v1(layout, name) for name in Features._fields})


def _has_v1(layout: Layout, name: str) -> bool:
    controller, file = _V1_FILES[name]
    if controller not in layout.mounts:
        return False
    names = (file, _V1_ALTERNATIVES.get(name, file))
    return any(os.path.exists(f"{layout.mounts[controller]}/{word}") for word in names)


def _probe_v2(layout: Layout) -> Features:
    sample = _v2_sample(layout.mounts[UNIFIED])
    return Features(**{name: _has_v2(layout, name, sample) for name in Features._fields})


def _has_v2(layout: Layout, name: str, sample: str | None) -> bool:
    if name not in _V2_NEEDS:
        return False  # swappiness, switching off the OOM killer, real-time: v1 only
    controller, files = _V2_NEEDS[name]
    if controller not in layout.controllers:
        return False
    if not files or sample is None or controller not in _controllers_of(sample):
        return True  # the runtime switches the controller on; what its files are nothing tells
    return any(os.path.exists(f"{sample}/{file}") for file in files.split())


def _controllers_of(directory: str) -> list[str]:
    try:
        with open(f"{directory}/cgroup.controllers", encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []  # removed meanwhile


def _v2_sample(root: str) -> str | None:
    """A cgroup below the root, which itself has none of the limits' files.

    The one with the most controllers: all have those that the root hands down, but for threads.
    """
    with os.scandir(root) as entries:
        found = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    return max(found, key=lambda path: len(_controllers_of(path)), default=None)
