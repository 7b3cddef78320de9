"""Remove volumes: one by one, or all that nobody needs.

The record is marked, the data is removed, the record is deleted. A removal that was cut short is
completed by the next command that removes volumes or wants the name.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import Conflict, EngineError
from runengine.mgr.volume import filters as filtering
from runengine.mgr.volume import mounting, populate
from runengine.mgr.volume.drivers import BUILTIN, driver_of
from runengine.store.volumes import READY, REMOVING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runengine.mgr.volume.context import VolumeContext
    from runengine.store.volumes import Volume


class Pruned(NamedTuple):
    """What a prune removed."""

    names: list[str]
    reclaimed_bytes: int


def remove(context: VolumeContext, name: str, *, force: bool = False) -> None:
    """Remove a volume and its data. Raises NotFound, Conflict naming the containers that use it,
    Unavailable.

    ``force`` forgets a volume whose plugin is gone or refuses; what it has of it stays.
    """
    context.users(name)
    with context.locked(name):
        volume = context.store.volumes.get(name)
        mark(context, volume)
        try:
            complete(context, volume, force=force)
        except EngineError:
            with context.store.database.write():
                context.store.volumes.set_status(volume, READY)
            raise


def mark(context: VolumeContext, volume: Volume) -> None:
    """From here on nobody gets the volume. Raises Conflict."""
    with context.store.database.write():
        users = context.store.volumes.users(volume.name)
        if users:
            raise Conflict(
                f"remove {volume.name}: volume is in use by {context.names_of(users)}",
                resolution="remove these containers first",
            )
        context.store.volumes.set_status(volume, REMOVING)


def complete(context: VolumeContext, volume: Volume, *, force: bool = False) -> None:
    """Remove the data, then the record; the lock is held."""
    mounting.forget(context, volume.name)
    populate.forget(context, volume.name)
    try:
        driver_of(context, volume.driver).remove(volume)
    except EngineError:
        if not force or volume.driver in BUILTIN:
            raise
    with context.store.database.write():
        context.store.volumes.remove(volume.name)
    context.drop_lock(volume.name)
    context.events.volume("destroy", volume)


def forget(context: VolumeContext, volume: Volume) -> None:
    """Undo a creation that failed, and what containers noted of it; the lock is held."""
    with suppress(EngineError):
        driver_of(context, volume.driver).remove(volume)
    with context.store.database.write():
        for container_id in context.store.volumes.users(volume.name):
            context.store.volumes.disuse(container_id, volume.name)
        context.store.volumes.remove(volume.name)
    context.drop_lock(volume.name)


def discard(context: VolumeContext, name: str) -> None:
    """Delete a record that cannot be read, with the local driver's directory if it has one.

    What a plugin has of it stays: only the record knew of it. Raises Conflict (in use).
    """
    from runengine.mgr.volume.local import LocalDriver
    from runengine.store.volumes import Volume

    users = context.users(name)
    if users:
        raise Conflict(f"remove {name}: volume is in use by {context.names_of(users)}")
    with context.locked(name):
        LocalDriver(context).remove(Volume(name, "local", ""))
        with context.store.database.write():
            context.store.volumes.remove(name)
        context.drop_lock(name)


def sweep(context: VolumeContext) -> None:
    """Complete what was cut short; what still fails, or is under way, stays for the next."""
    for volume in context.store.volumes.all():
        if volume.status != READY and not context.store.volumes.users(volume.name):
            with suppress(EngineError), context.locked(volume.name, timeout_s=0):
                found = context.store.volumes.find(volume.name)
                if found is not None and found.status != READY:
                    complete(context, found)


def prune(context: VolumeContext, filters: Mapping[str, Sequence[str]]) -> Pruned:
    """Remove the volumes that no container mounts: anonymous ones, or ``all=true``."""
    test = filtering.for_prune(filters)
    sweep(context)
    used = context.store.volumes.use_counts()
    names, reclaimed = [], 0
    for volume in context.store.volumes.all(READY):
        if volume.name in used or not test(volume):
            continue
        with suppress(EngineError):  # somebody uses or removes it just now, or its plugin is gone
            size = driver_of(context, volume.driver).usage(volume) or 0
            remove(context, volume.name)
            names.append(volume.name)
            reclaimed += size
    context.events.pruned("volume", reclaimed)
    return Pruned(names, reclaimed)


def leave(context: VolumeContext, container_id: str, names: Iterable[str]) -> None:
    """A container goes, and these of its volumes with it, unless others mount them.

    Whatever keeps a volume is no error of the container's: it stays, for ``prune``.
    """
    for name in dict.fromkeys(names):
        with suppress(EngineError), context.locked(name):
            volume = context.store.volumes.find(name)
            if volume is not None and _mark_left(context, volume, container_id):
                complete(context, volume)


def _mark_left(context: VolumeContext, volume: Volume, container_id: str) -> bool:
    """Forget a use, and mark the volume if that was the last one."""
    volumes = context.store.volumes
    with context.store.database.write():
        volumes.disuse(container_id, volume.name)
        if volumes.users(volume.name):
            return False
        volumes.set_status(volume, REMOVING)
    return True
