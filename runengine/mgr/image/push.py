"""``push``: what is missing at the registry goes there; then the manifest, as it was stored.

A blob that the registry has in another repository is taken from there, if we know of it by a name
``repository@digest``, which only pulls and pushes make.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter, NotFound
from runengine.mgr.image import garbage, pushable
from runengine.mgr.image.context import labels_of
from runengine.mgr.image.marking import document_blobs
from runengine.mgr.image.sending import Blobs
from runengine.oci_spec import media_types
from runengine.registry import reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runengine.mgr.image.compressing import Compression
    from runengine.mgr.image.context import ImageContext
    from runengine.mgr.image.progress import Progress
    from runengine.mgr.image.pushable import Pushable
    from runengine.registry.credentials import CredentialSource
    from runengine.registry.reference import Reference
    from runengine.registry.upload import UploadClient
    from runengine.store.images import ImageRow

SOURCES_LIMIT = 8
"""Repositories to take blobs from: a token that may read them all gets long."""


class PushResult(NamedTuple):
    """What a push brought to the registry."""

    reference: str  # normalised, with its tag
    digest: str  # of the manifest or index
    size: int  # of that document in bytes


class Options(NamedTuple):
    """How to push."""

    all_tags: bool = False
    compression: Compression | None = None  # None: gzip, where a layer is not compressed


def push(
    context: ImageContext,
    text: str,
    options: Options,
    *,
    progress: Progress,
    credentials: CredentialSource | None,
) -> list[PushResult]:
    """Bring the image, or all tags of a repository, to their registry.

    Raises InvalidParameter, NotFound, Unauthorized, Unavailable, Corrupt.
    """
    from runengine.registry.upload import UploadClient

    ref = _target(text, options)
    settings = context.config
    rows = _rows(context, ref, options)
    with garbage.arriving(context, resumable=True):
        sources = _sources(context, ref)
        progress.line(f"The push refers to repository [{ref.name}]")
        with UploadClient(
            ref,
            sources=sorted(set(sources.values()))[:SOURCES_LIMIT],
            insecure=settings.insecure_registries,
            credentials=credentials,
            certs_dirs=settings.certs_dirs,
        ) as client:
            push_one = _Push(context, client, options, sources, progress)
            return [push_one.tag(row) for row in rows]


def _target(text: str, options: Options) -> Reference:
    ref = reference.parse(text, default_tag=None if options.all_tags else reference.DEFAULT_TAG)
    if ref.digest:
        raise InvalidParameter(
            f"cannot push the digest reference {text}", resolution="name a tag, as in name:tag"
        )
    if options.all_tags and ref.tag:
        raise InvalidParameter(
            f"tag {ref.tag!r} can't be used with --all-tags/-a", resolution="leave one of them out"
        )
    return ref


def _rows(context: ImageContext, ref: Reference, options: Options) -> list[ImageRow]:
    images = context.store.images
    if not options.all_tags:
        row = images.find_name(str(ref))
        if row is None:
            raise NotFound(
                f"An image does not exist locally with the tag: {ref.familiar_name}",
                resolution=f"see `runengine images`; tag one as {ref.familiar}, or pull it",
            )
        return [row]
    rows = [row for row in images.names() if row.name.startswith(f"{ref.name}:")]
    if not rows:
        raise NotFound(f"An image does not exist locally with the tag: {ref.familiar_name}")
    return rows


def _sources(context: ImageContext, ref: Reference) -> dict[str, str]:
    """Other repositories of the same registry by the digests of blobs that they have."""
    found: dict[str, str] = {}
    for row in context.store.images.names():
        name, at, _ = row.name.partition("@")
        registry, _, repository = name.partition("/")
        if at and registry == ref.registry and repository != ref.repository:
            for digest in document_blobs(context, row.manifest_digest):
                found.setdefault(digest, repository)
    return found


class _Push:
    """Pushes of one repository, over one client."""

    def __init__(
        self,
        context: ImageContext,
        client: UploadClient,
        options: Options,
        sources: Mapping[str, str],
        progress: Progress,
    ) -> None:
        self._context = context
        self._client = client
        self._how = options.compression
        self._sources = sources
        self._progress = progress

    def tag(self, row: ImageRow) -> PushResult:
        """Push what a tag stands for: the whole index where all of it is here, else the image."""
        began_ns = time.monotonic_ns()
        ref = reference.parse(row.name)
        tag = ref.tag or reference.DEFAULT_TAG
        whole = pushable.index_of(self._context, row)
        if whole:
            digest, kind, data = whole
            for inner in pushable.manifests_of(data):
                self._send(pushable.one(self._context, inner), inner)
            manifest_digest = row.manifest_digest
            self._client.put_manifest(tag, kind, data, digest)
        else:
            data, digest = self._send(pushable.chosen(self._context, row, self._how), tag)
            manifest_digest = digest
        self._progress.line(f"{tag}: digest: {digest} size: {len(data)}")
        self._note(ref, row, digest, manifest_digest, began_ns)
        return PushResult(str(ref), digest, len(data))

    def _send(self, found: Pushable, name: str) -> tuple[bytes, str]:
        """The blobs of a manifest, and then itself under ``name``; what was sent, its digest."""
        changed = Blobs(self._context, self._client, self._how, self._sources).send(
            found, self._progress
        )
        data = found.remade(changed)
        kind = media_types.OCI_MANIFEST if changed else found.media_type
        digest = str(self._context.content.put(data)) if changed else found.digest
        self._client.put_manifest(digest if "sha256:" in name else name, kind, data, digest)
        return data, digest

    def _note(
        self, ref: Reference, row: ImageRow, digest: str, manifest_digest: str, began_ns: int
    ) -> None:
        """The name by digest, as after a pull; the event, now that it has happened."""
        images = self._context.store.images
        pushed = f"{ref.name}@{digest}"
        with suppress(sqlite3.IntegrityError):  # removed meanwhile
            known = images.find_name(pushed)
            # A write waits for the disk, and most pushes change nothing here.
            if known is None or known.manifest_digest != manifest_digest:
                images.set_name(pushed, row.image_id, manifest_digest)
            if manifest_digest != row.manifest_digest and images.find_name(row.name) == row:
                images.set_name(row.name, row.image_id, manifest_digest)
        labels = labels_of(self._context, row.image_id)
        self._context.events.image(
            "push", ref.familiar, ref.familiar_name, labels=labels, began_ns=began_ns
        )
