"""Create volumes: on request, and those that a container names and that are not there yet.

The record comes first, then what the driver needs, then the volume counts. Whatever dies in
between leaves a record that nobody sees and that the next one who wants the name completes.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from runengine import ids
from runengine.errors import Conflict
from runengine.linux import clock
from runengine.mgr.volume.drivers import driver_of
from runengine.mgr.volume.local_options import LOCAL
from runengine.oci_spec.volume_mounts import check_name
from runengine.store.volumes import ANONYMOUS_LABEL, CREATING, READY, REMOVING, Volume

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runengine.mgr.volume.context import VolumeContext
    from runengine.mgr.volume.request import VolumeConfig


def plan(config: VolumeConfig, *, made_for: str = "") -> Volume:
    """The volume as the request decides it. Raises InvalidParameter."""
    labels = dict(config["Labels"])
    name = config["Name"]
    if not name:
        name, labels = ids.new_id(), {**labels, ANONYMOUS_LABEL: ""}
    return Volume(
        check_name(name),
        config["Driver"] or LOCAL,
        clock.now(),
        labels,
        dict(config["DriverOpts"]),
        made_for,
        status=CREATING,
    )


def create(context: VolumeContext, config: VolumeConfig) -> Volume:
    """Create a volume; one that is there already and is the same is returned as it is.

    Raises InvalidParameter, NotFound (driver), Conflict (another one has the name), Unsupported,
    Unavailable.
    """
    wanted = plan(config)
    driver_of(context, wanted.driver).check(wanted)
    with context.locked(wanted.name):
        found = settle(context, wanted.name)
        if found is not None:
            refuse_other(found, wanted, strict=True)
            return found
        with context.store.database.write():
            context.store.volumes.add(wanted)
        _complete_or_forget(context, wanted)
    return wanted._replace(status=READY)


def refuse_other(found: Volume, wanted: Volume, *, strict: bool) -> None:
    """Raise Conflict if a volume is another than wanted; not ``strict``: what is said counts."""
    if found.driver != wanted.driver and (strict or wanted.driver != LOCAL or wanted.options):
        raise Conflict(
            f"create {found.name}: conflict: volume name must be unique: it exists with driver"
            f" {found.driver}",
            resolution="choose another name, or remove that one",
        )
    if found.options != wanted.options and (strict or wanted.options):
        raise Conflict(
            f"create {found.name}: conflict: the volume exists with other options",
            resolution=f"volume inspect {found.name} shows them; choose another name",
        )


def settle(context: VolumeContext, name: str) -> Volume | None:
    """The volume as it counts: what was cut short is completed. The caller holds its lock."""
    found = context.store.volumes.find(name)
    if found is None or found.status == READY:
        return found
    if found.status == REMOVING:
        from runengine.mgr.volume.removal import complete

        complete(context, found)
        return None
    _complete_or_forget(context, found)
    return found._replace(status=READY)


def _complete_or_forget(context: VolumeContext, volume: Volume) -> None:
    """Make what the driver needs; a volume that cannot be made leaves nothing."""
    driver = driver_of(context, volume.driver)
    try:
        driver.create(volume)
    except BaseException:
        from runengine.mgr.volume.removal import forget

        forget(context, volume)
        raise
    volume = volume._replace(scope=driver.scope)
    with context.store.database.write():
        context.store.volumes.set_status(volume, READY)
    context.events.volume("create", volume)


def attach(
    context: VolumeContext, container_id: str, wanted: Sequence[Volume], anonymous: Iterable[str]
) -> list[Volume]:
    """Note that a container mounts volumes, making those that are not there; as they are then.

    The container's record is there already, so a volume that was made for nothing is found by it.
    Raises what ``create`` raises.
    """
    unnamed = frozenset(anonymous)
    found = _attach_ready(context, container_id, wanted, unnamed)
    left = [volume for volume in wanted if volume.name not in found]
    for volume in left:
        driver_of(context, volume.driver).check(volume)
    with ExitStack() as stack:
        # In one order for all, so that no two wait for each other.
        for name in sorted(volume.name for volume in left):
            stack.enter_context(context.locked(name))
        for volume in left:
            found[volume.name] = _attach_one(context, container_id, volume, unnamed)
    return [found[volume.name] for volume in wanted]


def _attach_ready(
    context: VolumeContext, container_id: str, wanted: Sequence[Volume], unnamed: frozenset[str]
) -> dict[str, Volume]:
    """Those that are there, in one transaction."""
    volumes = context.store.volumes
    found: dict[str, Volume] = {}
    with context.store.database.write():
        for volume in wanted:
            there = volumes.find(volume.name)
            if there is not None and there.status == READY:
                refuse_other(there, volume, strict=False)
                volumes.use(container_id, volume.name, anonymous=volume.name in unnamed)
                found[volume.name] = there
    return found


def _attach_one(
    context: VolumeContext, container_id: str, volume: Volume, unnamed: frozenset[str]
) -> Volume:
    """One that was not there; its lock is held."""
    volumes = context.store.volumes
    there = settle(context, volume.name)
    if there is not None:
        refuse_other(there, volume, strict=False)
    with context.store.database.write():
        if there is None:
            volumes.add(volume)
        volumes.use(container_id, volume.name, anonymous=volume.name in unnamed)
    if there is None:
        _complete_or_forget(context, volume)
    return (there or volume)._replace(status=READY)
