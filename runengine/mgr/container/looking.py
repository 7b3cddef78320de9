"""``mount`` and ``unmount``: a container's root filesystem where root can look into it.

The kernel's mount table is all there is to know, so nothing can be counted wrongly, and nothing is
left to clear up after a death or a reboot. A container that is started meanwhile gets this very
mount as its root (``shown.share``): two mounts of one writable layer would spoil it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import Conflict, EngineError
from runengine.linux import mount
from runengine.mgr.container import observe, shown
from runengine.mgr.container.recover import settle

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record


class Mounted(NamedTuple):
    """A container whose files are shown."""

    id: str
    name: str
    path: str


def mount_container(context: Context, name: str) -> str:
    """Show a container's files; returns where. Again and again gives the same place.

    What it mounts itself is not among them. Raises NotFound, Conflict (it is being removed),
    EngineError.
    """
    with context.locked(context.resolve(name)) as record:
        if record.status == "removing":
            raise Conflict(f"container {record.name} is marked for removal")
        state = settle(context, record)
        data_dir = context.data_dir(record.id)
        target = shown.place(data_dir)
        if shown.is_shown(data_dir):
            return target
        os.makedirs(target, mode=0o700, exist_ok=True)
        try:
            _show(context, record, target, live=observe.is_live(state))
        except BaseException:
            with suppress(OSError):
                os.rmdir(target)
            raise
    context.events.container("mount", record, path=target)
    return target


def _show(context: Context, record: Record, target: str, *, live: bool) -> None:
    from runengine.rootfs.overlay import mount_overlay

    data_dir = context.data_dir(record.id)
    if not live:
        lowers = context.images.layer_paths(record.layers)[::-1]
        mount_overlay(lowers, f"{data_dir}/upper", f"{data_dir}/work", target)
        return
    try:
        shown.bind(f"{data_dir}/merged", target)
    except OSError as error:
        raise EngineError(
            f"cannot mount the files of container {record.name}", details=error.strerror
        ) from None


def unmount_container(context: Context, name: str) -> bool:
    """Show them no more; False if they were not. Raises Conflict naming who uses them."""
    with context.locked(context.resolve(name)) as record:
        was_shown = shown.let_go(context.data_dir(record.id))
    if was_shown:
        context.events.container("unmount", record)
    return was_shown


def list_mounted(context: Context) -> list[Mounted]:
    """Every container whose files are shown."""
    targets = {entry.target for entry in mount.mounts()}
    found = []
    for record in context.store.containers.all():
        target = shown.place(context.data_dir(record.id))
        if target in targets:
            found.append(Mounted(record.id, record.name, target))
    return found
