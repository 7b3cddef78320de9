"""Which layers images share, and what each image takes up alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.mgr.image.context import ImageContext
    from runengine.rootfs.layers import LayerInfo
    from runengine.store.images import StoredImage


class Share(NamedTuple):
    """One image's part of the disk."""

    size_bytes: int
    """Of all its layers, unpacked."""
    shared_bytes: int
    """Of those that other images have too."""
    disk_bytes: int
    """Blocks in use by all its layers."""
    unique_disk_bytes: int
    """Blocks in use by those that it alone has."""
    containers: int


class SharedLayer(NamedTuple):
    """One layer of an image."""

    key: str
    size_bytes: int
    images: list[str]
    """Ids of the images that have it."""


def shares(context: ImageContext) -> dict[str, Share]:
    """Every image's part, by id."""
    images = context.store.images.all()
    infos = layer_infos(context, images)
    users = Counter(key for image in images for key in set(image.layers))
    containers = containers_by_image(context)
    return {
        image.image_id: _share(image, infos, users, containers[image.image_id])
        for image in images
    }


def _share(
    image: StoredImage, infos: dict[str, LayerInfo], users: Counter[str], containers: int
) -> Share:
    known = {key: infos[key] for key in image.layers if key in infos}
    return Share(
        image.size_bytes,
        sum(info.tar_bytes for key, info in known.items() if users[key] > 1),
        sum(info.size_bytes for info in known.values()),
        sum(info.size_bytes for key, info in known.items() if users[key] == 1),
        containers,
    )


def layer_infos(context: ImageContext, images: Iterable[StoredImage]) -> dict[str, LayerInfo]:
    """What is known of the images' layers, by key; missing and damaged ones are left out."""
    infos = {}
    for key in {key for image in images for key in image.layers}:
        try:
            infos[key] = context.layers.info(key)
        except EngineError:
            continue
    return infos


def containers_by_image(context: ImageContext) -> Counter[str]:
    """How many containers were made from each image, by id."""
    return Counter(context.store.containers.images_in_use())


def tree(context: ImageContext) -> dict[str, list[SharedLayer]]:
    """Every image's layers, bottom first, by its id."""
    images = context.store.images.all()
    infos = layer_infos(context, images)
    users: dict[str, list[str]] = {}
    for image in images:
        for key in dict.fromkeys(image.layers):
            users.setdefault(key, []).append(image.image_id)
    return {
        image.image_id: [
            SharedLayer(key, infos[key].tar_bytes if key in infos else -1, users[key])
            for key in image.layers
        ]
        for image in images
    }
