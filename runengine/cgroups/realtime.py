"""Room for real-time processes in cgroup v1: a group gets no more than its parents have left.

New groups have no real-time budget, and the kernel refuses a child what its parent does not have
(the kernel's sched-rt-group.rst). So the parents of a container that asks for some are given as
much more as it needs.
"""

from __future__ import annotations

import os
from itertools import pairwise

from runengine.errors import Conflict
from runengine.linux.locks import directory_locked

DEFAULT_PERIOD_US = 1_000_000


def make_room(directory: str, root: str, runtime_us: int, period_us: int) -> None:
    """Make the group ``directory`` of the cpu hierarchy at ``root`` with this budget.

    ``period_us`` 0 is the kernel's default. Raises Conflict if the host has not so much left.
    """
    period_us = period_us or DEFAULT_PERIOD_US
    chain = _chain(directory, root)
    os.makedirs(os.path.dirname(directory), exist_ok=True)
    with directory_locked(os.path.dirname(directory)):
        os.makedirs(directory, exist_ok=True)
        wanted = runtime_us / period_us
        needed = {directory: wanted}
        for child, parent in pairwise(chain):
            beside = sum(_share(path) for path in _children(parent) if path != child)
            wanted = max(_share(parent), beside + wanted)
            needed[parent] = wanted
        try:
            for path in reversed(chain[1:]):
                _raise_to(path, needed[path])
            _write(f"{directory}/cpu.rt_period_us", period_us)
            _write(f"{directory}/cpu.rt_runtime_us", runtime_us)
        except OSError as error:
            raise Conflict(
                f"--cpu-rt-runtime {runtime_us}: this host has not so much real-time CPU to give",
                details=f"{error.filename}: {error.strerror}",
                resolution=f"see cpu.rt_runtime_us of the groups below {root}",
            ) from None


def _chain(directory: str, root: str) -> list[str]:
    """``directory`` and the groups above it, without the root."""
    found = []
    while directory.startswith(f"{root}/"):
        found.append(directory)
        directory = os.path.dirname(directory)
    return found


def _children(directory: str) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


def _share(directory: str) -> float:
    """The part of a CPU that the group may use."""
    try:
        runtime_us = _read(f"{directory}/cpu.rt_runtime_us")
        return max(0, runtime_us) / _read(f"{directory}/cpu.rt_period_us")
    except FileNotFoundError:
        return 0.0  # removed meanwhile


def _raise_to(directory: str, share: float) -> None:
    if _share(directory) < share:
        period_us = _read(f"{directory}/cpu.rt_period_us")
        _write(f"{directory}/cpu.rt_runtime_us", int(share * period_us) + 1)


def _read(path: str) -> int:
    with open(path, encoding="ascii") as file:
        return int(file.read())


def _write(path: str, number: int) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(str(number))
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
