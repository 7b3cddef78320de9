"""Real-time CPU for a container, which its parent groups must have to give."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runengine.store.containers import Record


def make_room(record: Record) -> None:
    """Before a start, or before more is given. Raises Conflict if the host has not so much."""
    from runengine.cgroups import layout, realtime

    root = layout.detect().mounts.get("cpu")
    directory = record.details["cgroup"].get("cpu")
    if root is not None and directory is not None:
        host = record.host_config
        realtime.make_room(
            directory, root, host["CpuRealtimeRuntime"], host["CpuRealtimePeriod"]
        )
