"""What every image operation works on."""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from runengine.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runengine.config import Config
    from runengine.mgr.events import Events
    from runengine.paths import Paths
    from runengine.registry.content import ContentStore
    from runengine.rootfs.layers import LayerStore
    from runengine.store.store import Store


class ImageContext:
    """The stores of one engine; the two on disk are opened on first use."""

    def __init__(self, config: Config, store: Store, events: Events) -> None:
        self.config = config
        self.store = store
        self.events = events

    @property
    def paths(self) -> Paths:
        """The engine's directories."""
        return self.config.paths

    @cached_property
    def content(self) -> ContentStore:
        """Blobs as they came."""
        from runengine.registry.content import ContentStore

        return ContentStore(self.paths.blobs)

    @cached_property
    def layers(self) -> LayerStore:
        """Unpacked layers."""
        from runengine.rootfs.layers import LayerStore

        return LayerStore(self.paths.layers)


def labels_of(context: ImageContext, image_id: str) -> dict[str, str]:
    """Labels of the image with this id; none if it is gone, or its record damaged."""
    image = context.store.images.get_image(image_id)
    try:
        config = (json.loads(image.config) if image else {}).get("config") or {}
    except (ValueError, AttributeError):
        return {}
    labels: dict[str, str] = config.get("Labels") or {}
    return labels


def note(
    context: ImageContext,
    action: str,
    image_id: str,
    names: Iterable[str],
    *,
    began_ns: int | None = None,
) -> None:
    """Write an event of an image down for each of these names, as Docker shows them."""
    labels = labels_of(context, image_id)
    for name in names:
        context.events.image(action, image_id, name, labels=labels, began_ns=began_ns)


@contextmanager
def disk_errors(root: str) -> Iterator[None]:
    """Turn the kernel's refusals to write below ``root`` into one line for the operator."""
    try:
        yield
    except OSError as error:
        raise readable(error, root) from error


def readable(error: OSError, root: str) -> EngineError:
    """The line for an OSError from writing images."""
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EngineError(
            f"no space left on the disk of {root}",
            resolution="free some space, for instance with rmi, and try again",
        )
    where = f" ({error.filename})" if isinstance(error.filename, str) else ""
    return EngineError(f"cannot write images below {root}{where}", details=error.strerror)
