"""One image in full, in the shape of Docker's ``/images/{name}/json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.errors import EngineError
from runengine.mgr.image import indexes, naming
from runengine.mgr.image.listing import document, section
from runengine.model import container_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runengine.mgr.image.context import ImageContext
    from runengine.store.images import ImageRow, StoredImage

_NEVER = "0001-01-01T00:00:00Z"


def inspected(context: ImageContext, text: str, platform: str | None = None) -> dict[str, Any]:
    """One image in full; with ``platform`` the one that the name's index has for it.

    Raises what ``naming.find`` raises, and NotFound where that platform is not here.
    """
    images = context.store.images
    found = naming.find(images, text)
    image = found.image if platform is None else indexes.image_for(context, found, platform)
    config = document(image)
    rows = [row for row in images.names() if row.image_id == image.image_id]
    tags, digests = naming.shown([row.name for row in rows])
    return {
        "Id": image.image_id,
        "RepoTags": tags,
        "RepoDigests": digests,
        "Parent": "",
        "Comment": _comment(config),
        "Created": config.get("created") or _NEVER,
        "DockerVersion": config.get("docker_version") or "",
        "Author": config.get("author") or "",
        "Config": _config(config),
        "Architecture": config.get("architecture") or "",
        "Variant": config.get("variant") or "",
        "Os": config.get("os") or "",
        "OsVersion": config.get("os.version") or "",
        "Size": image.size_bytes,
        "VirtualSize": image.size_bytes,
        "GraphDriver": _driver(context, image),
        "RootFS": {"Type": "layers", "Layers": list(config["rootfs"]["diff_ids"])},
        "Metadata": {"LastTagTime": _last_tag_time(rows)},
        "Descriptor": {"mediaType": image.media_type, "digest": image.manifest_digest},
        "Runengine": {
            "Layers": [_layer(context, key) for key in image.layers],
            "Platforms": [entry._asdict() for entry in indexes.of_image(context, image.image_id)],
        },
    }


def _comment(config: Mapping[str, Any]) -> str:
    history = config.get("history") or [{}]
    return config.get("comment") or history[-1].get("comment") or ""


def _config(config: Mapping[str, Any]) -> dict[str, Any]:
    known = dict(container_config()) | {"AttachStdout": False, "AttachStderr": False}
    own = {key: value for key, value in section(config).items() if value is not None}
    return known | own


def _driver(context: ImageContext, image: StoredImage) -> dict[str, Any]:
    paths = [context.layers.path(key) for key in reversed(image.layers)]
    data = {"UpperDir": paths[0]} if paths else {}
    if paths[1:]:
        data["LowerDir"] = ":".join(paths[1:])
    return {"Name": "overlay2", "Data": data}


def _layer(context: ImageContext, key: str) -> dict[str, Any]:
    """A layer as it is on this disk, counted when it was unpacked."""
    try:
        info = context.layers.info(key)
    except EngineError:
        return {"Key": key}  # taken away, or damaged: whoever needs it says so
    return {"Key": key, "Size": info.size_bytes, "Inodes": info.inodes}


def _last_tag_time(rows: list[ImageRow]) -> str:
    from runengine.linux import clock

    tagged = [row.created_at for row in rows if naming.is_tag(row.name)]
    return clock.format_ns(int(max(tagged) * 1e9)) if tagged else _NEVER
