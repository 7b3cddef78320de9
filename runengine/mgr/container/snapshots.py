"""Every layer that takes up disk: those of images, which are done, and the containers' own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import EngineError
from runengine.mgr.container import sizes

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context

ACTIVE, COMMITTED = "active", "committed"


class Snapshot(NamedTuple):
    """A layer and what it takes up."""

    key: str
    """An image layer's key, or a container's id."""
    kind: str
    """``active``: a container writes it; ``committed``: it never changes."""
    size_bytes: int
    """Blocks in use; a file with several names counts once."""
    inodes: int
    timestamp_ns: int
    """When this was looked up, since the epoch."""


def list_snapshots(context: Context) -> list[Snapshot]:
    """Image layers by key, as measured when they were unpacked, then containers, newest first.

    One that cannot be read, or goes meanwhile, is left out.
    """
    from runengine.rootfs.layers import LayerStore

    store = LayerStore(context.paths.layers)
    found = []
    keys = store.keys()
    for key in keys:
        try:
            info = store.info(key)
        except EngineError:
            continue
        found.append(Snapshot(key, COMMITTED, info.size_bytes, info.inodes, time.time_ns()))
    for record in context.store.containers.all():
        usage = sizes.writable_layer(context, record)
        if usage is not sizes.UNKNOWN:
            found.append(Snapshot(record.id, ACTIVE, *usage, time.time_ns()))
    return found
