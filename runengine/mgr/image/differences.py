"""``diff`` of an image: what its topmost layer changes in those below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.mgr.image import naming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.mgr.image.context import ImageContext
    from runengine.rootfs.changes import Change


def changes(context: ImageContext, name: str) -> Sequence[Change]:
    """Paths that the top layer adds, changes or deletes. Raises NotFound, AmbiguousName."""
    from runengine.rootfs.changes import changes_of

    image = naming.find(context.store.images, name).image
    layers = [context.layers.path(key) for key in reversed(image.layers)]
    return changes_of(layers[0], layers[1:]) if layers else []
