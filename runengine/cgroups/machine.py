"""What this host has to share out: memory, processors, memory nodes."""

from __future__ import annotations

import os
from typing import NamedTuple

from runengine.cgroups.layout import UNIFIED, Layout, detect

SYSFS = "/sys/devices/system"
HUGE_PAGES = "/sys/kernel/mm/hugepages"


class Machine(NamedTuple):
    """The host's resources; None stands for what is not known, and then not checked."""

    memory_bytes: int | None = None
    cpus: frozenset[int] | None = None
    memory_nodes: frozenset[int] | None = None
    huge_pages: frozenset[str] | None = None
    """Their sizes, as the runtime spells them (``2MB``)."""


def probe(layout: Layout | None = None, sysfs: str = SYSFS) -> Machine:
    """The resources that the root of the cgroup hierarchy may use, which are those that work."""
    hierarchies = layout or detect()
    return Machine(
        memory_bytes(),
        _first_list(
            _cpuset_files(hierarchies, "cpus"), f"{sysfs}/cpu/online"
        ),
        _first_list(_cpuset_files(hierarchies, "mems"), f"{sysfs}/node/online"),
        huge_pages(),
    )


def memory_bytes() -> int:
    """The host's RAM (sysconf(3))."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def huge_pages(directory: str = HUGE_PAGES) -> frozenset[str]:
    """Sizes of the host's huge pages (the kernel's admin-guide/mm/hugetlbpage.rst)."""
    try:
        names = os.listdir(directory)
    except OSError:
        return frozenset()
    numbers = (name.removeprefix("hugepages-").removesuffix("kB") for name in names)
    return frozenset(page_size(int(text) << 10) for text in numbers if text.isdigit())


def page_size(size_bytes: int) -> str:
    """The runtime's spelling of a size, in the largest unit of which it is a multiple."""
    for shift, unit in ((30, "GB"), (20, "MB")):
        if size_bytes and not size_bytes % (1 << shift):
            return f"{size_bytes >> shift}{unit}"
    return f"{size_bytes >> 10}KB"


def _cpuset_files(layout: Layout, word: str) -> list[str]:
    if layout.version == 2:
        return [f"{layout.mounts[UNIFIED]}/cpuset.{word}.effective"]
    directory = layout.mounts.get("cpuset")
    if directory is None:
        return []
    return [f"{directory}/cpuset.effective_{word}", f"{directory}/cpuset.{word}"]


def _first_list(paths: list[str], fallback: str) -> frozenset[int] | None:
    for path in (*paths, fallback):
        try:
            with open(path, encoding="ascii") as file:
                numbers = parse_list(file.read().strip())
        except (OSError, ValueError):
            continue
        if numbers:
            return numbers
    return None


# More than any kernel is built for (NR_CPUS), so that a typo costs no memory.
_LIMIT = 1 << 16


def parse_list(text: str) -> frozenset[int]:
    """The numbers of a list such as ``0-3,7`` (cpuset(7), "List format"). Raises ValueError."""
    numbers: set[int] = set()
    for part in text.split(",") if text else ():
        first, dash, last = part.strip().partition("-")
        low, high = _number(first), _number(last if dash else first)
        if high < low:
            raise ValueError(f"{part!r} ends before it begins")
        numbers.update(range(low, high + 1))
    return frozenset(numbers)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) >= _LIMIT:
        raise ValueError(f"{text!r} is no number of a processor or memory node")
    return int(text)


def show_list(numbers: frozenset[int]) -> str:
    """The shortest list of these numbers: ``0-3,7``."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in parts)
