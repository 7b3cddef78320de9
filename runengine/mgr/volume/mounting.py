"""Volumes whose data must be mounted: for the first container that runs, until after the last.

Nothing counts anywhere. Each container that starts leaves a note with its id, for this boot, and
takes it away when it has ended; a note whose container neither runs nor is being worked on was
left by something that died, and counts for nothing. All under the volume's lock.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from runengine.errors import EngineError
from runengine.mgr.volume.context import explained
from runengine.mgr.volume.drivers import driver_of

if TYPE_CHECKING:
    from runengine.mgr.volume.context import VolumeContext
    from runengine.store.volumes import Volume


def hold(context: VolumeContext, volume: Volume, container_id: str) -> str:
    """Have the data there for a container that starts; where. See ``Driver.mount``."""
    driver = driver_of(context, volume.driver)
    if not driver.must_mount(volume):
        return driver.mount(volume, container_id)
    with context.locked(volume.name):
        _leave_note(context, volume.name, container_id)
        try:
            return driver.mount(volume, container_id)
        except BaseException:
            _take_note(context, volume.name, container_id)
            raise


def release(context: VolumeContext, name: str, container_id: str) -> None:
    """A container that held the volume has ended. Idempotent; raises EngineError.

    If it fails the note stays, so that the next one who settles the container tries again.
    """
    if not is_held(context, name, container_id):
        return
    with context.locked(name):
        volume = context.store.volumes.find(name)
        if volume is not None:
            last = not holders(context, name, but=container_id)
            driver_of(context, volume.driver).unmount(volume, container_id, last=last)
        _take_note(context, name, container_id)


def is_held(context: VolumeContext, name: str, container_id: str) -> bool:
    """Whether the volume is mounted for the container's run."""
    return os.path.exists(_note(context, name, container_id))


def holders(context: VolumeContext, name: str, *, but: str = "") -> list[str]:
    """Containers that run, or are being started, with the volume mounted."""
    notes = _notes(context, name)
    for container_id in notes:
        if container_id != but and not context.is_busy(container_id):
            _take_note(context, name, container_id)
    return [one for one in _notes(context, name) if one != but]


def forget(context: VolumeContext, name: str) -> None:
    """Nobody needs the volume any more: the notes that are left tell of what died."""
    for container_id in _notes(context, name):
        _take_note(context, name, container_id)
    with suppress(OSError):
        os.rmdir(f"{context.directory}/{name}")


def _note(context: VolumeContext, name: str, container_id: str) -> str:
    return f"{context.directory}/{name}/{container_id}"


def _notes(context: VolumeContext, name: str) -> list[str]:
    try:
        return os.listdir(f"{context.directory}/{name}")
    except FileNotFoundError:
        return []


def _leave_note(context: VolumeContext, name: str, container_id: str) -> None:
    path = _note(context, name, container_id)
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise explained(error, f"cannot note the use of volume {name}") from None


def _take_note(context: VolumeContext, name: str, container_id: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(_note(context, name, container_id))


def release_all(context: VolumeContext, names: list[str], container_id: str) -> None:
    """Let go of several volumes; one whose driver fails keeps none of the others mounted."""
    for name in names:
        with suppress(EngineError):
            release(context, name, container_id)
