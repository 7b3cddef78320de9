"""What a push sends: the stored manifest as it is, or one made of the blobs that are here."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import EngineError, NotFound
from runengine.ids import Digest
from runengine.mgr.image.intake import media_type
from runengine.oci_spec import image, media_types

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runengine.mgr.image.compressing import Compression
    from runengine.mgr.image.context import ImageContext
    from runengine.oci_spec.image import Descriptor, Manifest
    from runengine.store.images import ImageRow, StoredImage

MANIFEST_LIMIT_BYTES = image.MANIFEST_LIMIT_BYTES
PLAIN = frozenset({media_types.OCI_LAYER, media_types.DOCKER_LAYER})
FOREIGN = (media_types.OCI_FOREIGN_LAYER, media_types.DOCKER_FOREIGN_LAYER)


class Layer(NamedTuple):
    """A layer as the manifest has it, and what there is to send for it."""

    key: str  # what progress calls it
    wanted: Descriptor
    other: Descriptor | None  # the same layer in another blob, where only that is here

    @property
    def is_plain(self) -> bool:
        """Whether it is to be compressed before it is sent."""
        return (self.other or self.wanted).media_type in PLAIN


class Pushable(NamedTuple):
    """One manifest and its blobs."""

    digest: str
    media_type: str
    data: bytes
    manifest: Manifest
    layers: list[Layer]

    def remade(self, layers: Mapping[str, Descriptor]) -> bytes:
        """The manifest with other descriptors for some of its layers, by digest.

        As it is if nothing changes, else an OCI manifest: Docker's knows no zstd.
        """
        if not layers:
            return self.data
        kept = self.manifest
        config = kept.config.model_copy(update={"media_type": media_types.OCI_CONFIG})
        return kept.model_copy(
            update={
                "media_type": media_types.OCI_MANIFEST,
                "config": config,
                "layers": [layers.get(old.digest) or _as_oci(old) for old in kept.layers],
            }
        ).to_json()


def is_foreign(descriptor: Descriptor) -> bool:
    """Whether the layer is to be fetched elsewhere: it is named, not sent."""
    return descriptor.media_type.startswith(FOREIGN) and bool(descriptor.urls)


def chosen(context: ImageContext, row: ImageRow, how: Compression | None) -> Pushable:
    """The manifest that a name stands for, or a better one of the same image.

    Better is one whose layers were compressed before, by ``how`` if that was asked for.
    """
    found = one(context, row.manifest_digest, row.image_id)
    if not any(layer.is_plain for layer in found.layers):
        return found
    candidates = _others(context, row)
    for form in ["gzip", "zstd"] if how is None else [how.format]:
        for candidate in candidates:
            if _is_ready(context, candidate, f"+{form}"):
                return candidate
    return found


def _others(context: ImageContext, row: ImageRow) -> list[Pushable]:
    """What the image's other names stand for."""
    found = []
    for digest in sorted({other.manifest_digest for other in _rows(context, row.image_id)}):
        with suppress(EngineError):
            found.append(one(context, digest, row.image_id))
    return found


def one(context: ImageContext, digest: str, image_id: str | None = None) -> Pushable:
    """What there is of a stored manifest. Raises NotFound, Corrupt, Unsupported."""
    data = context.content.read(digest, MANIFEST_LIMIT_BYTES)
    name = f"manifest {digest}"
    kind = image.document_type(data, name=name)
    manifest = image.parse_manifest(data, name=name)
    stored = context.store.images.get_image(image_id or manifest.config.digest)
    return Pushable(digest, kind, data, manifest, _layers(context, manifest, stored))


def index_of(context: ImageContext, row: ImageRow) -> tuple[str, str, bytes] | None:
    """Digest, type and bytes of an index that was pulled with this manifest and is whole here."""
    for other in _rows(context, row.image_id):
        digest = other.name.partition("@")[2]
        if digest and digest != row.manifest_digest and context.content.has(digest):
            data = context.content.read(digest, MANIFEST_LIMIT_BYTES)
            kind = image.document_type(data, name=f"manifest {digest}")
            if kind in media_types.INDEXES and _is_whole(context, data, row.manifest_digest):
                return digest, kind, data
    return None


def manifests_of(index: bytes) -> list[str]:
    """Digests of an index's manifests."""
    return [str(entry.digest) for entry in image.parse_index(index).manifests]


def _rows(context: ImageContext, image_id: str) -> list[ImageRow]:
    return [row for row in context.store.images.names() if row.image_id == image_id]


def _is_ready(context: ImageContext, candidate: Pushable, suffix: str) -> bool:
    """Whether all layers are compressed this way, and here."""
    types = {layer.wanted.media_type for layer in candidate.layers}
    is_right = types == {media_types.OCI_LAYER + suffix}
    return is_right and all(context.content.has(one.wanted.digest) for one in candidate.layers)


def _is_whole(context: ImageContext, index: bytes, manifest_digest: str) -> bool:
    """Whether every manifest of the index is here with every blob, and this one is among them."""
    digests = manifests_of(index)
    if manifest_digest not in digests:
        return False
    return all(_is_here(context, digest) for digest in digests)


def _is_here(context: ImageContext, digest: str) -> bool:
    try:
        manifest = one(context, digest).manifest
    except EngineError:
        return False
    blobs = [manifest.config, *(layer for layer in manifest.layers if not is_foreign(layer))]
    return all(context.content.has(blob.digest) for blob in blobs)


def _layers(
    context: ImageContext, manifest: Manifest, stored: StoredImage | None
) -> list[Layer]:
    diff_ids: Sequence[str] = ()
    if stored is not None:
        diff_ids = json.loads(stored.config)["rootfs"]["diff_ids"]
    keys = stored.layers if stored else []
    found = []
    for position, wanted in enumerate(manifest.layers):
        shown = diff_ids[position] if position < len(diff_ids) else wanted.digest
        key = keys[position] if position < len(keys) else None
        found.append(Layer(shown, wanted, _other(context, wanted, key)))
    return found


def _other(context: ImageContext, wanted: Descriptor, key: str | None) -> Descriptor | None:
    """Another blob of the same layer, where the manifest's own never came or is gone."""
    if key is None or is_foreign(wanted) or context.content.has(wanted.digest):
        return None
    try:
        digest = Digest(context.layers.info(key).blob)
        size = context.content.size(digest) if digest else 0
    except NotFound:
        return None
    if not digest:
        return None
    return image.Descriptor.model_validate(
        {"mediaType": media_type(context, digest), "digest": digest, "size": size}
    )


def _as_oci(layer: Descriptor) -> Descriptor:
    """A layer of Docker's types by the name of the same thing in OCI."""
    for docker, oci in (
        (media_types.DOCKER_LAYER, media_types.OCI_LAYER),
        (media_types.DOCKER_FOREIGN_LAYER, media_types.OCI_FOREIGN_LAYER),
    ):
        if layer.media_type.startswith(docker):
            suffix = layer.media_type.removeprefix(docker).replace(".", "+")
            return layer.model_copy(update={"media_type": oci + suffix})
    return layer
