"""Processes: who descends from whom, as /proc has it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

GONE = (FileNotFoundError, ProcessLookupError)
"""What reading about a process that has ended raises: before it is open, and after."""


def parent_of(pid: int) -> int:
    """The process that started it, or has adopted it (proc_pid_stat(5), field 4)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(*GONE):
                children.setdefault(parent_of(int(entry.name)), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def kill(pids: Iterable[int]) -> None:
    """Kill processes that the benchmark has started, and what these have started in turn."""
    for pid in {each for one in pids for each in family(one)}:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
