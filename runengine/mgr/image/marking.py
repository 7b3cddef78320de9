"""What must stay: everything that a name, an image or a container leads to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.mgr.image.context import ImageContext

DOCUMENT_LIMIT_BYTES = 1 << 24
INDEX_DEPTH_LIMIT = 4


class Marked(NamedTuple):
    """What must stay."""

    blobs: set[str]
    image_layers: set[str]
    container_layers: set[str]


def mark(context: ImageContext) -> Marked:
    """Everything that an image, a name or a container refers to."""
    images, containers = context.store.images, context.store.containers
    documents: set[str] = set()
    blobs: set[str] = set()
    for row in images.names():
        documents.update((row.manifest_digest, row.name.partition("@")[2]))
    image_layers: set[str] = set()
    for image in images.all():
        documents.add(image.manifest_digest)
        blobs.add(image.image_id)
        image_layers.update(image.layers)
    for digest in documents:
        blobs.update(document_blobs(context, digest))
    blobs.update(layer_blobs(context, image_layers))
    return Marked(blobs - {""}, image_layers, containers.used_layers())


def document_blobs(context: ImageContext, digest: str, depth: int = INDEX_DEPTH_LIMIT) -> set[str]:
    """The document itself with all that it leads to; only itself where it is not here.

    Of an index these are the indexes in it. Its manifests stay by the images made from them: an
    index tells of all platforms, and not all of them need be here.
    """
    found = {digest}
    document = read_document(context, digest)
    try:
        config = [document["config"]] if "config" in document else []
        found.update(str(entry["digest"]) for entry in [*config, *document.get("layers", [])])
        for entry in document.get("manifests", ()) if depth else ():
            if "manifests" in read_document(context, str(entry["digest"])):
                found |= document_blobs(context, str(entry["digest"]), depth - 1)
    except (KeyError, TypeError, AttributeError):
        return found
    return found


def read_document(context: ImageContext, digest: str) -> dict[str, Any]:
    """A stored manifest or index; empty where it is not here or not one."""
    try:
        document = json.loads(context.content.read(digest, DOCUMENT_LIMIT_BYTES))
    except (EngineError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def layer_blobs(context: ImageContext, keys: Iterable[str]) -> set[str]:
    """Blobs that these layers came from: an image's manifest may name others, same inside."""
    found = set()
    for key in keys:
        try:
            found.add(context.layers.info(key).blob)
        except EngineError:
            continue
    return found
