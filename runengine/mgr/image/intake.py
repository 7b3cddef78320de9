"""A layer from a stream that cannot be asked again: stored and unpacked in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import Corrupt, EngineError, InvalidParameter
from runengine.ids import DiffID, Digest, hex_of
from runengine.mgr.image.arrival import needs_lowers, unpack
from runengine.mgr.image.pipeline import Tee
from runengine.oci_spec import media_types
from runengine.registry.incoming import IncomingBlob
from runengine.rootfs.inflate import is_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runengine.mgr.image.context import ImageContext
    from runengine.registry.content import BlobWriter

_SUFFIXES = ((b"\x1f\x8b", "+gzip"), (b"\x28\xb5\x2f\xfd", "+zstd"))


class Taken(NamedTuple):
    """A layer whose blob is stored, and that is unpacked unless it needs the layers below it."""

    digest: Digest
    size: int  # bytes of the blob
    diff_id: DiffID | None  # None where the blob was here before and was not looked into


def take_layer(
    context: ImageContext,
    chunks: Iterable[bytes],
    blob: BlobWriter | IncomingBlob,
    done: Callable[[int], None],
) -> Taken:
    """Store the chunks as ``blob`` and unpack them, at the same time.

    ``done`` gets the bytes so far. A layer that needs others below it is unpacked again once
    these are known. Raises Corrupt, InvalidParameter; the blob is then not stored.
    """
    plain = False

    def store(chunk: bytes) -> None:
        nonlocal plain
        if not blob.offset:
            plain = is_plain(chunk)
        blob.write(chunk, hashing=not plain)
        done(blob.offset)

    with Tee(chunks, store) as tee, context.layers.stage() as staging:
        try:
            unpacked = unpack(context, tee, staging)
        except (Corrupt, InvalidParameter):
            tee.skip()
            raise
        tee.drain()
        key = hex_of(unpacked.diff_id)
        is_here = context.layers.has(key)
        known = _stored_blob(context, key) if isinstance(blob, IncomingBlob) and is_here else None
        if known is not None:
            return Taken(known, context.content.size(known), unpacked.diff_id)
        # The layer's commit syncs the filesystem, and this blob with it. What is plain was read
        # to its end by the unpacking, which hashes it in a thread of its own.
        digest = blob.commit(durable=is_here, hashed=key if plain else None)
        if not is_here and not needs_lowers(unpacked):
            staging.commit(
                key, tar_bytes=unpacked.tar_bytes, blob=digest, usage=unpacked.usage
            )
        return Taken(digest, context.content.size(digest), unpacked.diff_id)


def _stored_blob(context: ImageContext, key: str) -> Digest | None:
    """A blob of the layer that is here already, whatever its compression."""
    try:
        digest = Digest(context.layers.info(key).blob)
        return digest if digest and context.content.has(digest) else None
    except EngineError:
        return None


def media_type(context: ImageContext, digest: Digest) -> str:
    """The OCI media type of a stored layer, by its first bytes."""
    with context.content.open(digest) as blob:
        head = blob.read(4)
    suffix = next((suffix for magic, suffix in _SUFFIXES if head.startswith(magic)), "")
    return media_types.OCI_LAYER + suffix
