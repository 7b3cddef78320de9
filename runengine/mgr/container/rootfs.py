"""A container's files as they are now, for ``export``, ``commit`` and ``diff``."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runengine.errors import EngineError
from runengine.linux import fscontext
from runengine.mgr.container import observe, userns
from runengine.mgr.container.recover import settle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runengine.mgr.container.context import Context
    from runengine.rootfs.changes import Change
    from runengine.store.containers import Record, State

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
MOUNT_POINTS = frozenset(
    {
        *("dev", "proc", "sys", "etc"),
        *("dev/console", "dev/mqueue", "dev/pts", "dev/shm"),
        *("etc/hostname", "etc/hosts", "etc/resolv.conf"),
    }
)
"""What a start makes in the writable layer to mount on; no change of the user's as it is."""


def open_files(context: Context, record: Record, state: State) -> int:
    """Open the root directory as the container's processes see it, without what is mounted in it.

    The caller holds the container's lock, and closes; the lock may be let go before. Nothing that
    is done to the container meanwhile is held up by it.
    """
    merged = f"{context.data_dir(record.id)}/merged"
    if observe.is_live(state) and "userns" not in record.details:
        clone = fscontext.clone_tree(merged)
        try:
            return os.open(".", _OPEN, dir_fd=clone)
        finally:
            os.close(clone)
    from runengine.rootfs import standing

    # With a user namespace the mount shows owners as the host has them; the layers have those
    # that the container sees.
    lowers = context.images.layer_paths(record.layers)[::-1]
    if observe.is_live(state):
        merged = f"{userns.place_of(context, record.id)}/rootfs"  # empty, where nobody else looks
    layers = standing.Layers(
        lowers, upper_of(context, record), f"{context.data_dir(record.id)}/work", merged
    )
    apart = standing.to_read(layers, ())
    try:
        return os.open(".", _OPEN, dir_fd=apart.root_fd)
    finally:
        apart.close()


def upper_of(context: Context, record: Record) -> str:
    """The writable layer."""
    return f"{context.data_dir(record.id)}/upper"


def changes(context: Context, record: Record) -> list[Change]:
    """What the container has changed in its image, sorted by path."""
    from runengine.rootfs.changes import changes_of

    lowers = context.images.layer_paths(record.layers)[::-1]
    return changes_of(upper_of(context, record), lowers, MOUNT_POINTS)


def diff(context: Context, name: str) -> Sequence[Change]:
    """``changes`` by name; a container that runs goes on meanwhile."""
    with readable_files(name):
        return changes(context, context.store.containers.get(context.resolve(name)))


def export(context: Context, name: str, target: int) -> None:
    """Write the container's files as a tar to the open file ``target``. Raises OSError.

    Volumes and binds are not part of it. The lock is held only until the files are open, so that
    a slow reader is nobody's trouble.
    """
    import time

    from runengine.rootfs.pack import Packer
    from runengine.rootfs.sink import FileSink

    began_ns = time.monotonic_ns()
    with context.locked(context.resolve(name)) as record:
        fd = open_files(context, record, settle(context, record))
    try:
        sink = FileSink(target)
        packer = Packer(sink)
        with readable_files(record.name):
            packer.tree(fd)
        packer.finish()
        sink.flush()
    finally:
        os.close(fd)
    context.events.container("export", record, began_ns=began_ns)


@contextmanager
def readable_files(name: str) -> Iterator[None]:
    """Say so where files change so much while they are read that it cannot be done."""
    import errno

    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ESTALE, errno.ENOENT):
            raise
        raise EngineError(
            f"the files of container {name} changed while they were read",
            details=error.strerror,
            resolution="pause or stop the container and try again",
        ) from error
