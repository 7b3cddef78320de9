"""``commit``: what a container has changed becomes a layer on top of its image's, a new image."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from runengine.mgr.container.frozen import frozen
from runengine.mgr.container.recover import settle
from runengine.mgr.container.rootfs import changes, readable_files, upper_of

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context
    from runengine.mgr.image.commit import Wishes


def commit(context: Context, name: str, wishes: Wishes, *, pause: bool = True) -> str:
    """Make an image of the container's files and settings; returns its id.

    With ``pause`` a running container is frozen while its files are read; one that is paused
    stays so. Raises NotFound, InvalidParameter (before anything is done), Conflict if its image
    is gone.
    """
    began_ns = time.monotonic_ns()
    with context.locked(context.resolve(name)) as record:
        is_running = settle(context, record)["Status"] == "running"
        with context.images.begin_commit(record.image_id, record.layers, wishes) as image:
            still = frozen(context, record) if pause and is_running else nullcontext()
            with still, readable_files(record.name):
                upper = upper_of(context, record)
                image.take(upper, changes(context, record), is_still=pause or not is_running)
            image_id = image.finish(record.config)
        extra = {"comment": wishes.comment, "imageID": image_id, "imageRef": image.shown}
        context.events.container("commit", record, began_ns=began_ns, **extra)
    return image_id
