"""``image prune``: images that nobody needs go, in one sweep with what they alone had."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runengine.mgr.image import garbage, listing, removal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runengine.mgr.image.context import ImageContext
    from runengine.mgr.image.removal import Removed
    from runengine.store.images import StoredImage

FILTERS = frozenset({"dangling", "label", "label!", "until"})


class Pruned(NamedTuple):
    """What a prune removed."""

    removed: Removed
    """Docker's Untagged and Deleted entries."""
    freed_bytes: int | None
    """None: images are being brought in, so the content goes with the next sweep."""


def prune(context: ImageContext, filters: Mapping[str, Sequence[str]]) -> Pruned:
    """Remove images without a tag, or with ``dangling=false`` all, that no container uses.

    Filters: dangling, label, label!, until. Raises InvalidParameter.
    """
    listing.check(filters, FILTERS)
    chosen = {"dangling": ["true"], **filters}
    if not listing.truth(chosen["dangling"][0]):
        del chosen["dangling"]
    taken: list[tuple[StoredImage, Removed]] = []
    with garbage.in_use(context.paths):
        for entry in listing.matching(context.store.images, chosen):
            removed = removal.remove_unused(context, entry.image)
            if removed:
                taken.append((entry.image, removed))
    swept = garbage.sweep(context)
    gone = set(swept.layers) if swept else set()
    everything: Removed = []
    for image, removed in taken:
        layers = removal.deleted_layers(image, gone)
        gone -= set(image.layers)  # told once, by the first image that had it
        everything += [*removed, *layers]
    freed = swept.freed_bytes if swept else None
    context.events.pruned("image", freed or 0)
    return Pruned(everything, freed)
