"""``system df``: what takes up disk, and how much of it nobody needs.

Everything is counted from records and from what was measured when layers were unpacked; only the
writable layers of running containers are walked through.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runengine.mgr.container import listing as containers
from runengine.mgr.image import garbage, listing, marking, sharing
from runengine.mgr.image.context import ImageContext

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context


def disk_usage(context: Context) -> dict[str, Any]:
    """Docker's ``/system/df``, and beside it the blobs: layers and documents as they came.

    Sizes are blocks in use on disk.
    """
    images = ImageContext(context.config, context.store, context.events)
    shares = sharing.shares(images)
    entries = listing.listed(images)
    for entry in entries:
        share = shares[entry["Id"]]
        entry["Size"] = entry["VirtualSize"] = share.disk_bytes
        entry["SharedSize"] = share.disk_bytes - share.unique_disk_bytes
        entry["Containers"] = share.containers
    layers = sharing.layer_infos(images, context.store.images.all())
    return {
        "LayersSize": sum(info.size_bytes for info in layers.values()),
        "Images": entries,
        "Containers": containers.list_containers(
            context, everything=True, filters={}, limit=0, size=True
        ),
        "Volumes": context.volumes.list(usage=True),
        "BuildCache": _build_cache(images),
        "Blobs": _blobs(images),
        "Runengine": {"UnusedLayersSize": _unused_layers(images, shares)},
    }


def _build_cache(context: ImageContext) -> list[dict[str, Any]]:
    """One entry for all that a builder keeps for its next build: only it knows what is in it."""
    from runengine.mgr.building import building

    size = building.cache_bytes(context)
    if not size:
        return []
    return [{"ID": "builder", "Type": "regular", "Size": size, "InUse": False, "Shared": False}]


def _unused_layers(context: ImageContext, shares: dict[str, sharing.Share]) -> int:
    """Bytes of the layers that only images without a container have."""
    images = context.store.images.all()
    needed = context.store.containers.used_layers()
    for image in images:
        if shares[image.image_id].containers:
            needed.update(image.layers)
    infos = sharing.layer_infos(context, images)
    return sum(info.size_bytes for key, info in infos.items() if key not in needed)


def _blobs(context: ImageContext) -> list[dict[str, Any]]:
    """Every blob and every beginning of one; in use is what images lead to."""
    marked = marking.mark(context).blobs
    found = [
        {
            "ID": str(digest),
            "Type": "blob",
            "Size": _size(context.content.path(digest)),
            "InUse": digest in marked,
        }
        for digest in sorted(context.content.digests())
    ]
    return found + [
        {"ID": name, "Type": "partial", "Size": _size(f"{context.paths.blobs}/partial/{name}"),
         "InUse": False}
        for name in garbage.partial_names(context.paths)
    ]  # fmt: skip


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
