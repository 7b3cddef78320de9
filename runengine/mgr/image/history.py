"""How an image came to be: one row for each line of its history, the newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.errors import Corrupt, EngineError
from runengine.mgr.image import naming
from runengine.mgr.image.listing import created_s, document

if TYPE_CHECKING:
    from runengine.mgr.image.context import ImageContext
    from runengine.store.images import StoredImage

MISSING = "<missing>"
"""Docker's word for the id of an image that a builder had and nobody kept."""


def history(context: ImageContext, name: str) -> list[dict[str, Any]]:
    """Docker's ``/images/{name}/history``. Sizes are those of the layers' archives.

    Raises NotFound, AmbiguousName, Corrupt for an image that has not as many layers as its
    history says.
    """
    images = context.store.images
    image = naming.find(images, name).image
    lines = _lines(image)
    sizes = [_size(context, key) for key in image.layers]
    with_layer = [line for line in lines if not line.get("empty_layer")]
    if len(with_layer) != len(sizes):
        raise Corrupt(
            f"image {name} has {len(sizes)} layers but a history of {len(with_layer)}"
        )
    rows = [_row(line, 0 if line.get("empty_layer") else sizes.pop(0)) for line in lines]
    rows.reverse()
    if rows:
        tags, _ = naming.shown(images.names_of(image.image_id))
        rows[0] |= {"Id": image.image_id, "Tags": tags or None}
    return rows


def _lines(image: StoredImage) -> list[dict[str, Any]]:
    """Its history, or a line without a word for each layer where it has none."""
    config = document(image)
    lines: list[dict[str, Any]] = config.get("history") or []
    if lines:
        return lines
    return [{"created": config.get("created")} for _ in image.layers]


def _row(line: dict[str, Any], size: int) -> dict[str, Any]:
    return {
        "Id": MISSING,
        "Created": int(created_s(line)),
        "CreatedBy": line.get("created_by") or "",
        "Tags": None,
        "Size": size,
        "Comment": line.get("comment") or "",
    }


def _size(context: ImageContext, key: str) -> int:
    try:
        return context.layers.info(key).tar_bytes
    except EngineError:
        return 0  # taken away, or damaged: whoever needs it says so
