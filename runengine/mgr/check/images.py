"""Images: layers, blobs and documents, by looking at names and sizes.

What has the right size and other content is found by ``image verify``, which reads everything.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from runengine.errors import Conflict, EngineError, NotFound
from runengine.mgr.check.records import mend
from runengine.mgr.check.world import Difference
from runengine.mgr.image import garbage, marking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.check.world import World
    from runengine.store.images import StoredImage


def missing_layers(world: World) -> Iterator[Difference]:
    """Layers that an image or a container stands on, and that are not unpacked."""
    layers = world.images.layers
    users = {key: f"image {image.image_id[7:19]}" for image in world.store.images.all()
             for key in image.layers}  # fmt: skip
    for record in world.records.values():
        users |= {key: f"container {record.name}" for key in record.layers if key not in users}
    for key, user in sorted(users.items()):
        if not layers.has(key):
            yield Difference(
                "layer",
                key[:12],
                f"{user} stands on it, and it is not unpacked",
                "unpack it from its blob",
                partial(_unpack, world, key),
            )


def _unpack(world: World, key: str) -> None:
    from runengine.mgr.image import repair

    try:
        repair.unpack_again(world.images, [key])
    except NotFound:
        users = [one for one in world.store.images.all() if key in one.layers]
        if not users:
            raise
        mend(world, users[0])


def damaged_notes(world: World) -> Iterator[Difference]:
    """Layers whose sizes are not noted."""
    layers = world.images.layers
    for image in world.store.images.all():
        for key in image.layers:
            if not layers.has(key):
                continue
            try:
                layers.info(key)
            except EngineError as error:
                yield _of_image(world, image, "layer", key[:12], error.brief)


def damaged_blobs(world: World) -> Iterator[Difference]:
    """Documents and layers as they came: those that are missing, or have another size."""
    told: set[str] = set()
    for image in world.store.images.all():
        for digest, size in _blobs(world, image):
            what = _fault(world, digest, size)
            if what and digest not in told:
                told.add(digest)
                yield _of_image(world, image, "blob", digest, what)


def _blobs(world: World, image: StoredImage) -> Iterator[tuple[str, int | None]]:
    yield image.manifest_digest, None
    manifest = marking.read_document(world.images, image.manifest_digest)
    for entry in (manifest.get("config"), *(manifest.get("layers") or ())):
        if isinstance(entry, dict) and isinstance(entry.get("digest"), str):
            size = entry.get("size")
            yield entry["digest"], size if isinstance(size, int) else None


def _fault(world: World, digest: str, size: int | None) -> str:
    content = world.images.content
    try:
        found = content.size(digest)
    except EngineError:
        return "it is missing"
    if size is not None and found != size:
        return f"it has {found} bytes instead of {size}"
    return ""


def _of_image(
    world: World, image: StoredImage, kind: str, name: str, what: str
) -> Difference:
    return Difference(
        kind,
        name,
        f"{what} (image {image.image_id[7:19]})",
        "bring it from where the image came from, or unpack it again, as image verify does",
        partial(mend, world, image),
    )


def leftovers(world: World) -> Iterator[Difference]:
    """What broken pulls and violent deaths have left, once nobody can need it."""
    found = garbage.find(world.images)
    if found:
        total = sum(one.size_bytes for one in found)
        yield Difference(
            "garbage",
            world.paths.root,
            f"{len(found)} layers, blobs or downloads that nobody needs, {total} bytes",
            "delete it, as image gc does",
            partial(_sweep, world),
        )


def _sweep(world: World) -> None:
    if garbage.sweep(world.images) is None:
        raise Conflict("an image is being brought in", resolution="try again when that has ended")


CHECKS = (missing_layers, damaged_notes, damaged_blobs, leftovers)
