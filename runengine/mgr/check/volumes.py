"""Volumes: records, directories and mounts against each other. Data is never deleted."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from runengine.errors import EngineError
from runengine.linux.locks import is_locked
from runengine.mgr.check.world import Difference, names_in
from runengine.mgr.volume import mounting, removal
from runengine.mgr.volume.drivers import driver_of
from runengine.store.volumes import READY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.check.world import World
    from runengine.store.volumes import Volume


def half_made(world: World) -> Iterator[Difference]:
    """Volumes whose creation or removal was cut short."""
    for volume in world.store.volumes.all():
        if (
            volume.status != READY
            and not world.store.volumes.users(volume.name)
            and not is_locked(f"{world.volumes.directory}/{volume.name}.lock")
        ):
            yield Difference(
                "volume",
                volume.name,
                f"it is {volume.status}, and nobody is at it",
                "remove what there is of it",
                partial(removal.sweep, world.volumes),
            )


def without_data(world: World) -> Iterator[Difference]:
    """Volumes of the local driver whose directory is gone."""
    for volume in world.store.volumes.all(READY):
        path = _path(world, volume)
        if path and not os.path.isdir(path):
            yield Difference(
                "volume",
                volume.name,
                f"its data is gone: {path}",
                f"bring it back from a backup, or: runengine volume rm {volume.name}",
            )


def data_without_record(world: World) -> Iterator[Difference]:
    """Directories that look like a volume's and are none: perhaps data that somebody needs."""
    known = world.store.volumes.names()
    for name in names_in(world.volumes.root):
        if name not in known and os.path.isdir(f"{world.volumes.root}/{name}"):
            yield Difference(
                "volume",
                name,
                f"there is a directory {world.volumes.root}/{name} and no volume of that name",
                f"copy what is in it into a new volume, and remove it: it may be needed: {name}",
            )


def left_mounted(world: World) -> Iterator[Difference]:
    """Volumes that are mounted on the host for containers that do not run."""
    mounted = {entry.target for entry in world.mounts}
    for volume in world.store.volumes.all(READY):
        path = _path(world, volume)
        if path in mounted and not mounting.holders(world.volumes, volume.name):
            yield Difference(
                "volume",
                volume.name,
                f"it is mounted at {path}, and no container runs with it",
                "unmount it",
                partial(_unmount, world, volume),
            )


def _path(world: World, volume: Volume) -> str:
    """Where a local volume's data is; empty for those of plugins."""
    try:
        driver = driver_of(world.volumes, volume.driver)
        return driver.path(volume) if volume.driver in ("local", "tmpfs") else ""
    except EngineError:
        return ""


def _unmount(world: World, volume: Volume) -> None:
    with world.volumes.locked(volume.name):
        if not mounting.holders(world.volumes, volume.name):
            driver_of(world.volumes, volume.driver).unmount(volume, "", last=True)


CHECKS = (half_made, without_data, data_without_record, left_mounted)
