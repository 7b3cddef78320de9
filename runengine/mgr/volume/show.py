"""Volumes in Docker's shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.errors import EngineError
from runengine.mgr.volume import adopt
from runengine.mgr.volume import filters as filtering
from runengine.mgr.volume.drivers import BUILTIN, driver_of
from runengine.store.volumes import READY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runengine.mgr.volume.context import VolumeContext
    from runengine.store.volumes import Volume

NOT_KNOWN = -1
"""Docker's size of a volume that nobody can tell the size of."""


def list_volumes(
    context: VolumeContext, filters: Mapping[str, Sequence[str]], *, usage: bool
) -> list[dict[str, Any]]:
    """Docker's ``/volumes``: every volume that passes, by name.

    Filters: dangling, driver, label, name. ``usage`` adds what each takes and how many containers
    mount it. Raises InvalidParameter.
    """
    counts = context.store.volumes.use_counts() if usage or "dangling" in filters else {}
    test = filtering.for_list(filters, counts)
    every = [*context.store.volumes.all(READY), *adopt.unknown(context)]
    found = sorted(volume for volume in every if test(volume))
    documents = [document(context, volume) for volume in found]
    if usage:
        for shown, volume in zip(documents, found, strict=True):
            shown["UsageData"] = usage_data(context, volume, counts.get(volume.name, 0))
    return documents


def document(context: VolumeContext, volume: Volume, *, status: bool = False) -> dict[str, Any]:
    """What is known of a volume; with ``status`` a plugin is asked as well."""
    shown: dict[str, Any] = {
        "CreatedAt": volume.created_at,
        "Driver": volume.driver,
        "Labels": volume.labels,
        "Mountpoint": "",
        "Name": volume.name,
        "Options": volume.options,
        "Scope": volume.scope,
    }
    if not status and volume.driver not in BUILTIN:
        return shown
    try:
        driver = driver_of(context, volume.driver)
        shown["Mountpoint"] = driver.path(volume)
        told = driver.status(volume)
    except EngineError as error:  # a plugin that is not there now: the record still says much
        told = {"Error": str(error)}
    return shown | {"Status": told} if told else shown


def usage_data(context: VolumeContext, volume: Volume, count: int) -> dict[str, int]:
    """Docker's ``UsageData``: bytes on disk and how many containers mount it."""
    try:
        size = driver_of(context, volume.driver).usage(volume)
    except EngineError:
        size = None
    return {"Size": NOT_KNOWN if size is None else size, "RefCount": count}
