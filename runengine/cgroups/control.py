"""The control files of a container's limits: kept, put back, and those the runtime leaves alone.

Sources: the kernel's cgroup-v2.rst and cgroup-v1/{memory,blkio-controller,cpusets,pids}.rst.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from runengine.cgroups.layout import UNIFIED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# In an order in which most things can be put back in one go.
_V1_FILES = (
    ("memory", "memory.limit_in_bytes"),
    ("memory", "memory.memsw.limit_in_bytes"),
    ("memory", "memory.soft_limit_in_bytes"),
    ("cpu", "cpu.shares"),
    ("cpu", "cpu.cfs_period_us"),
    ("cpu", "cpu.cfs_quota_us"),
    ("cpu", "cpu.rt_period_us"),
    ("cpu", "cpu.rt_runtime_us"),
    ("cpuset", "cpuset.cpus"),
    ("cpuset", "cpuset.mems"),
    ("blkio", "blkio.weight"),
    ("blkio", "blkio.bfq.weight"),
    ("pids", "pids.max"),
)
_V2_FILES = (
    "memory.max",
    "memory.swap.max",
    "memory.low",
    "cpu.weight",
    "cpu.max",
    "cpuset.cpus",
    "cpuset.mems",
    "io.weight",
    "io.bfq.weight",
    "pids.max",
)
# HostConfig's lists of rates: v1's file, and v2's key in io.max.
THROTTLES = {
    "BlkioDeviceReadBps": ("blkio.throttle.read_bps_device", "rbps"),
    "BlkioDeviceWriteBps": ("blkio.throttle.write_bps_device", "wbps"),
    "BlkioDeviceReadIOps": ("blkio.throttle.read_iops_device", "riops"),
    "BlkioDeviceWriteIOps": ("blkio.throttle.write_iops_device", "wiops"),
}
NO_RATE = 0
"""Of a device: no limit."""


class Write(NamedTuple):
    """A line for a control file."""

    path: str
    text: str


def is_v2(dirs: Mapping[str, str]) -> bool:
    """Whether the directories of ``layout.cgroup_dirs`` are v2's."""
    return set(dirs) == {UNIFIED}


class Kept:
    """The limits as they were."""

    def __init__(self, dirs: Mapping[str, str]) -> None:
        self._before = [Write(path, _read(path)) for path in _files(dirs)]

    def restore(self) -> list[str]:
        """Put back what is different now; the files that the kernel did not let.

        One limit may stand in another's way (memory, and memory with swap), whatever the order: as
        long as a round gets something done there is another.
        """
        left = self._changed()
        while left:
            failed = [write for write in left if not _try(write)]
            if len(failed) == len(left):
                break
            left = failed
        return [write.path for write in left]

    def _changed(self) -> list[Write]:
        return [write for write in self._before if _read(write.path) != write.text]


def _files(dirs: Mapping[str, str]) -> list[str]:
    if is_v2(dirs):
        found = [f"{dirs[UNIFIED]}/{name}" for name in _V2_FILES]
    else:
        found = [f"{dirs[name]}/{file}" for name, file in _V1_FILES if name in dirs]
    return [path for path in found if os.path.exists(path)]


def rates(
    dirs: Mapping[str, str], key: str, wanted: Mapping[tuple[int, int], int]
) -> list[Write]:
    """What to write so that exactly these rates hold, by device number; ``key`` is HostConfig's.

    A device that has a rate and is not in ``wanted`` loses it.
    """
    file, word = THROTTLES[key]
    if is_v2(dirs):
        path = f"{dirs[UNIFIED]}/io.max"
        limited = _limited_v2(_read(path), word)
        return [
            Write(path, f"{_show(device)} {word}={wanted.get(device) or 'max'}")
            for device in _union(limited, wanted)
        ]
    path = f"{dirs.get('blkio', '')}/{file}"
    limited = [_device(line.split()[0]) for line in _read(path).splitlines()]
    return [
        Write(path, f"{_show(device)} {wanted.get(device, NO_RATE)}")
        for device in _union(limited, wanted)
    ]


def apply(writes: Iterable[Write]) -> None:
    """Write one after the other. Raises OSError naming the file."""
    for write in writes:
        _write(write)


def _union(
    first: Iterable[tuple[int, int]], second: Iterable[tuple[int, int]]
) -> list[tuple[int, int]]:
    return list(dict.fromkeys((*first, *second)))


def _limited_v2(text: str, word: str) -> list[tuple[int, int]]:
    """Devices of io.max that have a limit: ``8:0 rbps=1024 wbps=max riops=max wiops=max``."""
    found = []
    for line in text.splitlines():
        device, *pairs = line.split()
        if any(pair.startswith(f"{word}=") and pair != f"{word}=max" for pair in pairs):
            found.append(_device(device))
    return found


def _device(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(":")
    return int(major), int(minor)


def _show(device: tuple[int, int]) -> str:
    return f"{device[0]}:{device[1]}"


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


def _try(write: Write) -> bool:
    try:
        _write(write)
    except OSError:
        return False
    return True


def _write(write: Write) -> None:
    try:
        with open(write.path, "w", encoding="ascii") as file:
            file.write(write.text)
    except OSError as error:
        raise OSError(error.errno, error.strerror, write.path) from None
