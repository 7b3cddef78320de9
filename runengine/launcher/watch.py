"""Processes that are not our children, so that their ends come by pidfd.

Monitors of an earlier service; and, where a container has lost its monitor, its init, as nobody
else would notice its end.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from runengine.linux import pidfd

if TYPE_CHECKING:
    from collections.abc import Collection


class Process(NamedTuple):
    """A process and the descriptor that becomes readable when it has ended."""

    pid: int
    fd: int


class Watch:
    """Who is watched."""

    def __init__(self) -> None:
        self._pids: dict[int, int] = {}  # by descriptor

    def look(self, directory: str, parents: Collection[int]) -> list[int]:
        """Watch for every container below ``directory`` whoever is to end first; the new ones.

        ``parents`` are told of their children's ends, and so are we.
        """
        known = self._pids.values()
        found = []
        with suppress(FileNotFoundError):
            for name in os.listdir(directory):
                process = _find(f"{directory}/{name}", known, parents)
                if process is not None:
                    self._pids[process.fd] = process.pid
                    found.append(process.fd)
        return found

    def forget(self, fd: int) -> bool:
        """Close the descriptor of one that has ended; False if it is nobody's."""
        if self._pids.pop(fd, None) is None:
            return False
        os.close(fd)
        return True


def _find(state_dir: str, known: Collection[int], parents: Collection[int]) -> Process | None:
    """The monitor that init.json names, else the init; None if it is known, or both are gone."""
    try:
        with open(f"{state_dir}/init.json", encoding="utf-8") as file:
            note = json.load(file)
        for prefix in ("monitor_", ""):
            pid, started = note[f"{prefix}pid"], note[f"{prefix}start_time"]
            is_known = pid in known or pidfd.parent(pid) in parents
            if is_known and pidfd.is_alive(pid, started):
                return None
            fd = pidfd.open_verified(pid, started)
            if fd is not None:
                return Process(pid, fd)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None
