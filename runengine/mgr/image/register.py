"""The last step of every arrival: the image's record and its names."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.mgr.image.context import ImageContext


class Arrived(NamedTuple):
    """An image whose documents are stored and whose layers are unpacked."""

    image_id: str
    manifest_digest: str
    media_type: str
    config: bytes
    keys: list[str]  # of the layers, bottom first


def register(context: ImageContext, image: Arrived, names: Iterable[str]) -> list[str]:
    """Record the image and point the names at it; returns the names that stood for another."""
    images = context.store.images
    images.put_image(
        image.image_id,
        image.manifest_digest,
        config=image.config.decode(),
        layers=image.keys,
        size_bytes=sum(context.layers.info(key).tar_bytes for key in image.keys),
        media_type=image.media_type,
    )
    moved = []
    for name in names:
        before = images.set_name(name, image.image_id, image.manifest_digest)
        if before not in (None, image.image_id):
            moved.append(name)
    return moved
