"""``upgrade``: put a container on another image; everything but its own changes stays.

Id, name, networks, mounts, limits and what its user has set are those it had; what it had written
outside of its volumes is gone, as with a container that is made anew.
"""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import Conflict, EngineError, NotFound
from runengine.mgr.container import observe, pending, swap
from runengine.mgr.container.recover import settle
from runengine.mgr.container.start import start_settled, want_running
from runengine.mgr.container.stop import stop_and_settle
from runengine.oci_spec.mounts import parents_first
from runengine.oci_spec.rebase import Command, rebased

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.mgr.container.context import Context
    from runengine.oci_spec.mounts import MountPoint
    from runengine.store.containers import Record


class Wanted(NamedTuple):
    """What the container is to be on."""

    image: str
    command: Command = Command()


def upgrade(context: Context, name: str, wanted: Wanted, *, timeout_s: int | None = None) -> None:
    """Stop the container if it runs, change its image, and start it if it ran.

    If it does not start, it is put back and started as it was. Raises NotFound (image), Conflict
    (the image is the same, or the files are in use), InvalidParameter, and what ``stop`` and
    ``start`` raise.
    """
    began_ns = time.monotonic_ns()
    with context.locked(context.resolve(name)) as record:
        _check(context, record)
        state = settle(context, record)
        _plan(context, record, wanted)  # whatever can be refused is, while it still runs
        ran = observe.is_live(state)
        if ran:
            state = stop_and_settle(context, record, state, timeout_s=timeout_s, for_good=False)
            context.events.container("stop", record, began_ns=began_ns)
        pending.cancel(context, record.id)
        before = context.store.containers.get(record.id)._replace(state=state)
        try:
            after = _exchange(context, before, wanted)
        except BaseException:
            if ran:
                _run(context, _as_it_is(context, record.id))
            raise
        if ran:
            _start(context, before, after)
        _as_it_is(context, record.id)
        changed = {"oldImage": before.config["Image"], "oldImageID": before.image_id}
        context.events.container("upgrade", after, began_ns=began_ns, **changed)


def _check(context: Context, record: Record) -> None:
    from runengine.mgr.container import shown

    if record.status in ("creating", "removing"):
        raise Conflict(f"container {record.name} is being {record.status[:-3]}ed: try again")
    if shown.is_shown(context.data_dir(record.id)):
        raise Conflict(
            f"container {record.name} is mounted", resolution=f"unmount it: unmount {record.name}"
        )


def _plan(context: Context, record: Record, wanted: Wanted) -> tuple[Record, list[MountPoint]]:
    """The record on the other image, and the volumes that the image adds."""
    from runengine.linux import kernel, rlimits
    from runengine.mgr.container import volumes
    from runengine.mgr.container.create import log_of
    from runengine.oci_spec import validate

    image = context.images.lookup(wanted.image)
    if image.image_id == record.image_id:
        raise Conflict(
            f"container {record.name}: image not changed: {wanted.image} is what it is on",
            resolution="pull the image if there is a newer one, or name another",
        )
    document = json.loads(image.config)
    config = rebased(
        record.config, _image_config(context, record), document.get("config") or {}, wanted.command
    )
    config["Image"] = wanted.image
    host = record.host_config
    validate.check(config, host, kernel.probe(), rlimits.hard_limits())
    points = volumes.points_of(record)
    added = volumes.of_image(config, host, {point.destination for point in points})
    points = parents_first([*points, *added])
    details = {
        **record.details,
        "architecture": document.get("architecture") or "",
        "log": log_of(context, record.id, record.name, config, image.image_id, host)[0],
        "mounts": volumes.documents(context, points),
        "points": volumes.to_documents(points),
    }
    if any(point.volume for point in points):
        details[volumes.FRESH] = True
    after = record._replace(
        image_id=image.image_id, config=config, details=details, layers=image.layers
    )
    return after, added


def _image_config(context: Context, record: Record) -> Any:
    """Of the image that it is on; of one that is gone nothing is known to be the image's."""
    try:
        return json.loads(context.images.lookup(record.image_id).config).get("config") or {}
    except NotFound:
        return {}


def _exchange(context: Context, before: Record, wanted: Wanted) -> Record:
    from runengine.mgr.container import volumes
    from runengine.mgr.container.create import make_layer
    from runengine.mgr.image.garbage import in_use

    # Held until the record pins the layers: a sweep in between would take them away.
    with in_use(context.paths):
        after, added = _plan(context, before, wanted)
        try:
            if added:
                volumes.attach(context, after)
            return swap.exchange(context, before, after, partial(make_layer, context, after))
        except BaseException:
            _drop(context, before, added)
            raise


def _start(context: Context, before: Record, after: Record) -> None:
    """Start it; if that fails, put it back and start it as it was."""
    try:
        _run(context, after)
    except BaseException as error:
        taken = {point.destination for point in _points(before)}
        swap.take_back(context, before, after)
        _drop(context, before, [one for one in _points(after) if one.destination not in taken])
        _run(context, _as_it_is(context, before.id))
        if not isinstance(error, EngineError):
            raise
        raise type(error)(
            f"container {before.name} does not start on {after.config['Image']}: {error.brief}",
            details=error.details,
            resolution=f"it runs on {before.config['Image']} again, with all that it had",
        ) from error


def _as_it_is(context: Context, container_id: str) -> Record:
    """The record, with no swap under way any more."""
    record = context.store.containers.get(container_id)
    return swap.finish(context, record) if swap.NOTE in record.details else record


def _points(record: Record) -> Sequence[MountPoint]:
    from runengine.mgr.container import volumes

    return volumes.points_of(record)


def _drop(context: Context, record: Record, points: Sequence[MountPoint]) -> None:
    """Remove the volumes that were made for these mounts."""
    names = [point.volume.name for point in points if point.volume is not None]
    if names:
        context.volumes.drop(record.id, names)


def _run(context: Context, record: Record) -> None:
    """Start it, as it is to run."""
    start_settled(context, want_running(context, record, anew=True))
