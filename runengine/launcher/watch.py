"""Monitors of an earlier service: not our children, so their ends come by pidfd."""

from __future__ import annotations

import json
import os
from contextlib import suppress

from runengine.linux import pidfd


class Monitors:
    """Descriptors that become readable when a monitor has ended."""

    def __init__(self) -> None:
        self.fds: set[int] = set()

    def find(self, directory: str) -> set[int]:
        """Open the monitors of every container below ``directory`` (init.json names them)."""
        with suppress(FileNotFoundError):
            for name in os.listdir(directory):
                fd = _monitor_of(f"{directory}/{name}")
                if fd is not None:
                    self.fds.add(fd)
        return self.fds

    def forget(self, fd: int) -> None:
        """Close the descriptor of one that has ended."""
        self.fds.discard(fd)
        os.close(fd)


def _monitor_of(state_dir: str) -> int | None:
    try:
        with open(f"{state_dir}/init.json", encoding="utf-8") as file:
            record = json.load(file)
        return pidfd.open_verified(record["monitor_pid"], record["monitor_start_time"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
