"""Multi-platform indexes: which platforms a name offers, and which of them are here.

The index itself is kept with the name that stands for it (``repository@sha256:...``). Of its
manifests those are here that were pulled or loaded; each is an image of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import NotFound
from runengine.mgr.image import listing, marking
from runengine.registry import platform as platforms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from runengine.mgr.image.context import ImageContext
    from runengine.mgr.image.naming import Found
    from runengine.store.images import StoredImage

ATTESTATION = "attestation-manifest"
REFERENCE_TYPE = "vnd.docker.reference.type"


class Offered(NamedTuple):
    """An entry of an index."""

    Platform: str
    """``os/architecture[/variant]``; empty for what is not an image."""
    Digest: str
    Kind: str
    """``image``, ``attestation``, ``index``, or the type of an artifact."""
    ImageId: str
    """Of the image that is here; else empty."""


def of_image(context: ImageContext, image_id: str) -> list[Offered]:
    """Entries of the indexes that the image's names stand for, each once."""
    return of_images(context, [image_id])[image_id]


def of_images(context: ImageContext, image_ids: Iterable[str]) -> dict[str, list[Offered]]:
    """The same for several images, by id."""
    here = images_by_manifest(context)
    digests: dict[str, list[str]] = {image_id: [] for image_id in image_ids}
    for row in context.store.images.names():
        digest = row.name.partition("@")[2]
        if digest and row.image_id in digests:
            digests[row.image_id].append(digest)
    return {
        image_id: list(
            {
                entry.Digest: entry for digest in known for entry in offered(context, digest, here)
            }.values()
        )
        for image_id, known in digests.items()
    }


def images_by_manifest(context: ImageContext) -> dict[str, str]:
    """Ids of the images that are here by the digests of their manifests."""
    images = context.store.images
    rows = {row.manifest_digest: row.image_id for row in images.names()}
    return rows | {image.manifest_digest: image.image_id for image in images.all()}


def offered(
    context: ImageContext, digest: str, here: Mapping[str, str], depth: int = 4
) -> Iterator[Offered]:
    """What an index offers, with the indexes in it; nothing where it is none or not here."""
    entries = marking.read_document(context, digest).get("manifests")
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or not isinstance(entry.get("digest"), str):
            continue
        nested = list(offered(context, entry["digest"], here, depth - 1)) if depth else []
        if nested:
            yield from nested
        else:
            kind, platform = _kind(entry)
            yield Offered(platform, entry["digest"], kind, here.get(entry["digest"], ""))


def _kind(entry: dict[str, Any]) -> tuple[str, str]:
    """What an entry is, and for which platform."""
    platform = entry.get("platform") or {}
    annotations = entry.get("annotations") or {}
    if annotations.get(REFERENCE_TYPE) == ATTESTATION:
        return "attestation", ""
    if entry.get("artifactType"):
        return str(entry["artifactType"]), ""
    if str(entry.get("mediaType", "")).endswith(("index.v1+json", "manifest.list.v2+json")):
        return "index", ""
    words = [str(platform.get(key) or "") for key in ("os", "architecture", "variant")]
    return "image", str(platforms.normalised(*words)) if words[0] and words[1] else ""


def image_for(context: ImageContext, found: Found, platform: str) -> StoredImage:
    """The image for a platform: the one found, or another that the same index has.

    Raises NotFound that says which are here, InvalidParameter for a malformed platform.
    """
    wanted = platforms.Platform.parse(platform)
    if platform_of(found.image) == wanted:
        return found.image
    images = context.store.images
    offers = of_image(context, found.image.image_id)
    for entry in offers:
        image = images.get_image(entry.ImageId) if entry.Platform == str(wanted) else None
        if image is not None:
            return image
    offers_it = any(entry.Platform == str(wanted) for entry in offers)
    raise NotFound(
        f"image {found.name or found.image.image_id} is not here for platform {wanted}",
        details=f"it is here for {platform_of(found.image)}",
        resolution="its index offers that platform: pull --platform" if offers_it else None,
    )


def platform_of(image: StoredImage) -> platforms.Platform:
    """The platform that an image's config names. Raises StateError."""
    config = listing.document(image)
    return platforms.normalised(
        config.get("os") or "linux",
        config.get("architecture") or platforms.native().architecture,
        config.get("variant") or "",
    )
