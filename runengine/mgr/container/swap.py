"""Exchanging a container's writable layer together with what its record says of its image.

The record decides. The new layer is made in a place of its own, named after the image; then one
transaction gives the record the new image and the note that a swap is under way; then the layers
change places. Whoever takes the container's lock and finds the note completes what a dead process
has begun, so that at no moment a layer is on an image that it was not made for.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runengine.errors import Unavailable
from runengine.rootfs.walk import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record

NOTE = "swap"
"""In the record's details: the id of the image whose layer is to be put aside."""
_PARTS = ("work", "upper")


def exchange(
    context: Context, before: Record, after: Record, make: Callable[[str], None]
) -> Record:
    """Give a container that does not run another image, and the layer that ``make`` makes.

    The old one is kept until ``finish``, so that ``take_back`` has it. Returns the record as it
    then is.
    """
    _discard(context, after)
    make(_aside(context, after))
    return _change(context, before, after)


def take_back(context: Context, before: Record, after: Record) -> Record:
    """Undo an ``exchange`` that has not been finished; the new layer is lost."""
    return finish(context, _change(context, after, before))


def _change(context: Context, old: Record, new: Record) -> Record:
    noted = new._replace(details={**new.details, NOTE: old.image_id})
    context.store.containers.set_image(noted)
    _complete(context, noted)
    return noted


def finish(context: Context, record: Record) -> Record:
    """Remove the layer that was put aside, and the note; completes the swap first, if need be."""
    _complete(context, record)
    _discard(context, record)
    details = {key: value for key, value in record.details.items() if key != NOTE}
    context.store.containers.set_details(record.id, details)
    return record._replace(details=details)


def _complete(context: Context, record: Record) -> None:
    """Put the layer of the record's image in its place, and the one there aside. Idempotent."""
    data_dir = context.data_dir(record.id)
    here = _aside(context, record)
    there = _aside(context, record._replace(image_id=record.details[NOTE]))
    os.makedirs(there, mode=0o700, exist_ok=True)
    for part in _PARTS:
        if os.path.isdir(f"{here}/{part}"):
            if os.path.isdir(f"{data_dir}/{part}"):
                os.rename(f"{data_dir}/{part}", f"{there}/{part}")
            os.rename(f"{here}/{part}", f"{data_dir}/{part}")


def _place(context: Context, record: Record) -> str:
    return f"{context.data_dir(record.id)}/swap"


def _aside(context: Context, record: Record) -> str:
    """Where the layer for the record's image is while it is not in its place."""
    return f"{_place(context, record)}/{record.image_id.rpartition(':')[2]}"


def _discard(context: Context, record: Record) -> None:
    try:
        remove_tree(_place(context, record))
    except OSError as error:
        raise Unavailable(
            f"cannot remove {_place(context, record)}: {error.filename or ''} {error.strerror}"
        ) from None
