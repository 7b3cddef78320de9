"""From a reference to the verified documents of an image; its layers are brought elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import Corrupt, NotFound, Unavailable
from runengine.oci_spec import image, media_types
from runengine.registry import platform as platforms
from runengine.registry.patience import backoff_s

if TYPE_CHECKING:
    from runengine.ids import DiffID, Digest
    from runengine.oci_spec.image import Descriptor, ImageConfig
    from runengine.registry.client import Manifest, RegistryClient
    from runengine.registry.content import ContentStore
    from runengine.registry.platform import Platform
    from runengine.registry.reference import Reference

INDEX_DEPTH_LIMIT = 4
ATTEMPTS = 4
"""At a config, before it is given up."""


class FetchedManifest(NamedTuple):
    """What a pull knows before it fetches the layers; the documents are in the content store."""

    ref: Reference
    top_digest: Digest
    """Of what the tag names: the index if there is one."""
    manifest_digest: Digest
    media_type: str
    manifest: image.Manifest
    config: ImageConfig
    config_bytes: bytes
    image_id: Digest
    """Digest of the config."""
    layers: list[Descriptor]
    diff_ids: list[DiffID]
    warnings: list[str]


def fetch_image(
    client: RegistryClient,
    ref: Reference,
    content: ContentStore,
    platform: Platform | None = None,
) -> FetchedManifest:
    """Resolve ``ref``: index → manifest for the platform → config, each verified and stored.

    They are on disk for good only when the filesystem has been synced, as layers do it.
    ``platform`` None is this machine's, and then an image for another is fetched with a warning
    if it is the only one. Raises NotFound, Unauthorized, Unavailable, Corrupt, Unsupported.
    """
    top = client.manifest(ref)
    chain, media_type = _resolve(client, ref, content, top, platform or platforms.native())
    found = chain[-1]
    name = f"manifest {found.digest} of {ref}"
    manifest = image.parse_manifest(found.data, name=name)
    config_bytes = _config_bytes(client, ref, content, manifest.config)
    config = image.parse_config(config_bytes, name=f"config {manifest.config.digest} of {ref}")
    image.check_layer_count(manifest, config, name=name)
    warnings = _check_platform(ref, config, platform)
    for document in (*(link.data for link in chain), config_bytes):
        content.put(document, durable=False)
    return FetchedManifest(
        ref,
        top.digest,
        found.digest,
        media_type,
        manifest,
        config,
        config_bytes,
        manifest.config.digest,
        list(manifest.layers),
        list(config.rootfs.diff_ids),
        warnings,
    )


def _resolve(
    client: RegistryClient,
    ref: Reference,
    content: ContentStore,
    top: Manifest,
    platform: Platform,
) -> tuple[list[Manifest], str]:
    """Follow indexes down to one manifest: all of them in order, and the last one's type."""
    chain = [top]
    for _ in range(INDEX_DEPTH_LIMIT):
        found = chain[-1]
        name = f"manifest {found.digest} of {ref}"
        media_type = image.document_type(found.data, found.media_type, name=name)
        if media_type in media_types.MANIFESTS:
            return chain, media_type
        index = image.parse_index(found.data, name=name)
        entry = platforms.select(index, platform, name=str(ref))
        chain.append(_child(client, ref, content, entry))
    raise Corrupt(f"index {top.digest} of {ref} is nested more than {INDEX_DEPTH_LIMIT} deep")


def _child(
    client: RegistryClient, ref: Reference, content: ContentStore, entry: Descriptor
) -> Manifest:
    name = f"manifest {entry.digest} of {ref}"
    if entry.size > image.MANIFEST_LIMIT_BYTES:
        raise Corrupt(f"{name} is announced with {entry.size} bytes")
    data = _stored(content, entry)
    if data is None:
        child = client.manifest(ref._replace(tag=None, digest=entry.digest))
        declared = entry.media_type or child.media_type
        if len(child.data) != entry.size:
            raise Corrupt(f"{name} has {len(child.data)} bytes instead of {entry.size}")
        image.document_type(child.data, child.media_type, name=name)
        return child._replace(media_type=declared)
    return _as_manifest(entry, data)


def _as_manifest(entry: Descriptor, data: bytes) -> Manifest:
    from runengine.registry.client import Manifest as Received

    return Received(entry.media_type, entry.digest, data)


def _config_bytes(
    client: RegistryClient, ref: Reference, content: ContentStore, config: Descriptor
) -> bytes:
    if config.size > image.CONFIG_LIMIT_BYTES:
        raise Corrupt(
            f"config {config.digest} of {ref} is announced with {config.size} bytes, "
            f"more than the limit of {image.CONFIG_LIMIT_BYTES}"
        )
    data = _stored(content, config)
    return _small_blob(client, ref, config) if data is None else data


def _small_blob(client: RegistryClient, ref: Reference, descriptor: Descriptor) -> bytes:
    """A blob in memory, so that a refused image leaves nothing in the store."""
    for attempt in range(ATTEMPTS):
        try:
            with client.blob(ref, descriptor) as stream:
                return b"".join(stream)
        except Unavailable:
            if attempt + 1 == ATTEMPTS:
                raise
            time.sleep(backoff_s(attempt + 1))
    raise AssertionError("the last attempt returns or raises")


def _stored(content: ContentStore, descriptor: Descriptor) -> bytes | None:
    """The blob's bytes if they are here and right; what a crash damaged is deleted."""
    import hashlib

    try:
        data = content.read(descriptor.digest, descriptor.size)
    except NotFound:
        return None
    except Corrupt:
        data = b""
    if f"sha256:{hashlib.sha256(data).hexdigest()}" == descriptor.digest:
        return data
    content.remove(descriptor.digest)
    return None


def _check_platform(ref: Reference, config: ImageConfig, wanted: Platform | None) -> list[str]:
    """An image for another platform: refused if the user named one, else a warning."""
    if not config.os or not config.architecture:
        return []
    actual = platforms.normalised(config.os, config.architecture, config.variant)
    if platforms.matches(wanted or platforms.native(), actual):
        return []
    if wanted:
        raise NotFound(
            f"no image for platform {wanted} in {ref}", details=f"it is an image for {actual}"
        )
    return [
        f"The requested image's platform ({actual}) does not match the detected host platform "
        f"({platforms.native()}) and no specific platform was requested"
    ]
