"""The last step of every arrival: the image's record and its names."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import Conflict

if TYPE_CHECKING:
    from runengine.mgr.image.context import ImageContext

ATTEMPTS = 5


class Arrived(NamedTuple):
    """An image whose documents are stored and whose layers are unpacked."""

    image_id: str
    manifest_digest: str
    media_type: str
    config: str  # the image config document, JSON
    keys: list[str]  # of the layers, bottom first
    names: list[str]  # normalised, to point at it


def register(context: ImageContext, image: Arrived) -> list[tuple[str, str]]:
    """Record the image and its names; returns names that stood for another image, and its id.

    Raises Conflict if somebody removes the image again and again meanwhile.
    """
    for _ in range(ATTEMPTS):
        try:
            _record(context, image)
            return _name(context, image)
        except sqlite3.IntegrityError:
            # Removed between the record and a name: the content is still here, so begin again.
            continue
    raise Conflict(f"image {image.image_id} is being removed", resolution="try again")


def _record(context: ImageContext, image: Arrived) -> None:
    context.store.images.put_image(
        image.image_id,
        image.manifest_digest,
        config=image.config,
        layers=image.keys,
        size_bytes=sum(context.layers.info(key).tar_bytes for key in image.keys),
        media_type=image.media_type,
    )


def _name(context: ImageContext, image: Arrived) -> list[tuple[str, str]]:
    moved = []
    for name in image.names:
        before = context.store.images.set_name(name, image.image_id, image.manifest_digest)
        if before is not None and before != image.image_id:
            moved.append((name, before))
    return moved
