"""``import``: a root filesystem's tar becomes an image of one layer."""

from __future__ import annotations

import json
import os
import time
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import Corrupt
from runengine.ids import Digest
from runengine.linux import clock
from runengine.mgr.image import apart, garbage, naming, register
from runengine.mgr.image import changes as changing
from runengine.mgr.image.archive import REPACKED, chunks_of, decompressor
from runengine.mgr.image.arrival import Arrivals, Layer, Stack
from runengine.mgr.image.context import note
from runengine.mgr.image.intake import Taken, take_layer
from runengine.mgr.image.load import manifest_of
from runengine.mgr.image.progress import NoProgress
from runengine.mgr.image.repair import not_stored
from runengine.oci_spec import image, media_types
from runengine.registry import platform as platforms
from runengine.registry.incoming import IncomingBlob

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runengine.mgr.image.archive import Readable
    from runengine.mgr.image.context import ImageContext
    from runengine.mgr.image.progress import Progress


class Description(NamedTuple):
    """What the image says about itself."""

    changes: Sequence[str] = ()  # Dockerfile instructions
    message: str = ""
    platform: str | None = None  # os/architecture[/variant], by default this machine's
    created: str | None = None  # RFC 3339, by default now


def import_rootfs(
    context: ImageContext, stream: Readable, name: str | None, description: Description
) -> str:
    """Make the image and point ``name`` at it; returns its id.

    The tar may be compressed. Raises InvalidParameter (name, changes, platform, tar tricks),
    Corrupt.
    """
    began_ns = time.monotonic_ns()
    full = str(naming.target(name)) if name else None
    document = _document(description)

    def take_in(_: Progress) -> Iterator[register.Arrived]:
        taken = _take(context, stream)
        document["rootfs"]["diff_ids"] = [taken.diff_id]
        yield _arrive(context, taken, document, [full] if full else [])

    with garbage.arriving(context, resumable=False):
        (arrived,) = apart.bring(context, take_in, NoProgress())
        register.register(context, arrived)
        shown = naming.familiar(full) if full else arrived.image_id
        note(context, "import", arrived.image_id, [shown], began_ns=began_ns)
        return arrived.image_id


def _arrive(
    context: ImageContext, taken: Taken, document: dict[str, Any], names: list[str]
) -> register.Arrived:
    config = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    image.parse_config(config)
    keys = _unpack(context, taken)
    image_id = context.content.put(config)
    manifest = manifest_of(context, (image_id, len(config)), [(taken.digest, taken.size)])
    manifest_digest = context.content.put(manifest)
    kind = media_types.OCI_MANIFEST
    return register.Arrived(image_id, manifest_digest, kind, config.decode(), keys, names)


def _document(description: Description) -> dict[str, Any]:
    """The image config, but for the layer; every key in a fixed order."""
    wanted = description.platform
    platform = platforms.Platform.parse(wanted) if wanted else platforms.native()
    created = description.created or clock.now()
    document: dict[str, Any] = {"created": created, "architecture": platform.architecture}
    if platform.variant:
        document["variant"] = platform.variant
    comment = description.message or "Imported from a root filesystem"
    return document | {
        "os": platform.os,
        "config": changing.apply({}, description.changes),
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [{"created": created, "comment": comment}],
    }


def _take(context: ImageContext, stream: Readable) -> Taken:
    chunks = chunks_of(stream)
    first = next(chunks, b"")
    if not first:
        raise Corrupt("cannot import an empty file", resolution="give it a tar archive")
    chunks = chain((first,), chunks)
    if first.startswith(REPACKED):
        chunks = decompressor(chunks)
    with IncomingBlob(context.content) as blob:
        return take_layer(context, chunks, blob, lambda _done: None)


def _unpack(context: ImageContext, taken: Taken) -> list[str]:
    """The layer's key; one with incomplete paths or links is made whole first."""
    if taken.diff_id is None:
        raise AssertionError("a new blob is always looked into")
    stack = Stack(context.layers, [taken.diff_id])
    with Arrivals(context, stack, not_stored) as arrivals:
        layer = Layer(0, Digest(taken.digest), taken.size, taken.diff_id)
        arrivals.bring(layer, lambda _status, _current, _total: None)
        arrivals.finish()
    return stack.keys()


def modified_at(path: str) -> str:
    """When a file was made, RFC 3339: the time of an image that is built from it."""
    return clock.format_ns(int(os.stat(path).st_mtime) * 1_000_000_000)
