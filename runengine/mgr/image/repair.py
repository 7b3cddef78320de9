"""Layers that should be unpacked and are not: made again from the stored blobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import Corrupt, EngineError, NotFound
from runengine.ids import DiffID, Digest
from runengine.mgr.image import garbage
from runengine.mgr.image.arrival import Arrivals, Layer, Stack
from runengine.mgr.image.listing import document

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runengine.mgr.image.context import ImageContext
    from runengine.store.images import StoredImage


def unpack_again(context: ImageContext, keys: Sequence[str]) -> None:
    """Bring back the layers of ``keys`` that are gone. Raises NotFound if that cannot be done."""
    wanted = set(keys)
    with garbage.arriving(context, resumable=True):
        for image in context.store.images.all():
            if wanted.intersection(image.layers):
                _unpack(context, image)
    missing = [key for key in keys if not context.layers.has(key)]
    if missing:
        raise NotFound(
            f"layer {missing[0][:12]} is missing below {context.paths.layers}",
            resolution="pull or load the image again",
        )


def _unpack(context: ImageContext, image: StoredImage) -> None:
    """Unpack what is missing of one image, as far as its blobs are here."""
    try:
        stack = Stack(context.layers, document(image)["rootfs"]["diff_ids"])
        with Arrivals(context, stack, not_stored) as arrivals:
            for layer in _layers(context, image, stack.diff_ids):
                arrivals.bring(layer, lambda _status, _current, _total: None)
            arrivals.finish()
    except EngineError:
        return


def _layers(context: ImageContext, image: StoredImage, diff_ids: list[DiffID]) -> list[Layer]:
    import json

    manifest = json.loads(context.content.read(image.manifest_digest, 1 << 24))
    return [
        Layer(index, Digest(entry["digest"]), int(entry["size"]), diff_id)
        for index, (entry, diff_id) in enumerate(zip(manifest["layers"], diff_ids, strict=True))
    ]


def not_stored(layer: Layer, offset: int) -> Iterable[bytes]:
    """For where there is nothing to download from."""
    raise Corrupt(f"there is no blob of layer {layer.diff_id} after byte {offset}")
