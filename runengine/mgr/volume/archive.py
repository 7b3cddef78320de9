"""``volume export`` and ``volume import``: what is in a volume as a tar, there and back."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runengine.errors import Conflict
from runengine.mgr.volume import mounting
from runengine.mgr.volume.drivers import driver_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.volume.context import VolumeContext
    from runengine.rootfs.inflate import Source
    from runengine.store.volumes import Volume


def export(context: VolumeContext, volume: Volume, target: int) -> None:
    """Write the volume's files to the open file ``target``.

    Raises Conflict (its data is not mounted), EngineError, OSError.
    """
    from runengine.rootfs.gather import write_archive
    from runengine.rootfs.places import Places

    with _mounted(context, volume) as path, Places() as places:
        write_archive(target, places.source(f"{path}/."), ".")
    context.events.volume("export", volume)


def import_from(context: VolumeContext, volume: Volume, source: Source) -> None:
    """Extract a tar, compressed or not, into the volume; files of the same names are replaced.

    Raises Conflict, Corrupt, InvalidParameter (a name that leads out), EngineError (a full disk).
    """
    from runengine.rootfs.extract import extract
    from runengine.rootfs.transfer import Options

    with _mounted(context, volume) as path:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            extract(source, fd, "", Options())
        finally:
            os.close(fd)
    context.events.volume("import", volume)


@contextmanager
def _mounted(context: VolumeContext, volume: Volume) -> Iterator[str]:
    """Where the data is. What must be mounted is so for containers only, which are known."""
    driver = driver_of(context, volume.driver)
    if not driver.must_mount(volume):
        yield driver.mount(volume, "")
        return
    if not mounting.holders(context, volume.name):
        raise Conflict(
            f"the data of volume {volume.name} is not mounted",
            resolution="it is while a container runs that has the volume: start one",
        )
    yield driver.path(volume)
