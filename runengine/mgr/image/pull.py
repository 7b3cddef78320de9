"""``pull``: all layers at once, the largest first, each in one pass; then the names.

Each layer's commit syncs the filesystem, documents and blobs with it, and only then does the
database get the names: a name that is there stands for an image that no power cut takes away.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import Corrupt, EngineError, InvalidParameter, NotFound, Unsupported
from runengine.ids import short
from runengine.mgr.image import default, garbage, register, workers
from runengine.mgr.image.arrival import Arrivals, Layer, Stack, check_stackable, has_blob
from runengine.mgr.image.context import disk_errors, labels_of
from runengine.registry import reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from runengine.mgr.image.arrival import Report
    from runengine.mgr.image.context import ImageContext
    from runengine.mgr.image.progress import Progress
    from runengine.mgr.image.workers import Message, Send
    from runengine.registry.client import RegistryClient
    from runengine.registry.credentials import CredentialSource
    from runengine.registry.fetch import FetchedManifest
    from runengine.registry.platform import Platform
    from runengine.registry.reference import Reference

WORKERS_LIMIT = 4
"""Layers at once, unless the configuration says otherwise: more only share the same disk."""
SHOWN_FAILURES = 5
REPORT_INTERVAL_S = 0.1


class PullResult(NamedTuple):
    """What a pull brought."""

    image_id: str
    digest: str  # of the manifest or index that the name stands for
    reference: str  # normalised
    up_to_date: bool  # the name stood for this image already


def pull(
    context: ImageContext,
    text: str,
    *,
    platform: str | None,
    progress: Progress,
    credentials: CredentialSource | None,
) -> PullResult:
    """Bring the image here and point the name at it.

    Raises InvalidParameter, NotFound, Unauthorized, Unavailable, Corrupt, Unsupported.
    """
    ref, wanted = reference.parse(text), _platform(platform)
    if _is_embedded(ref):
        return _embedded(context, ref, progress)
    with _client(context, credentials) as client:
        return _bring(context, client, ref, wanted, progress)


def pull_all(
    context: ImageContext,
    text: str,
    *,
    platform: str | None,
    progress: Progress,
    credentials: CredentialSource | None,
) -> list[PullResult]:
    """Bring every tag of a repository that is an image, one after the other.

    Raises what ``pull`` raises: at once if the registry refuses or is away, for tags that are no
    images or broken only after all others have come.
    """
    named, wanted = reference.parse(text, default_tag=None), _platform(platform)
    if named.tag or named.digest:
        raise InvalidParameter("tag can't be used with --all-tags/-a")
    if _is_embedded(named._replace(tag=reference.DEFAULT_TAG)):
        return [_embedded(context, reference.parse(text), progress)]
    results, failures = [], []
    with _client(context, credentials) as client:
        tags = client.tags(named)
        if not tags:
            raise NotFound(f"repository {named.familiar_name} has no tags")
        for tag in tags:
            ref = named._replace(tag=tag)
            try:
                results.append(_bring(context, client, ref, wanted, progress))
            except (NotFound, Corrupt, Unsupported) as error:
                failures.append(f"{tag}: {error.brief}")
                progress.line(f"{tag}: {error}")
    if failures:
        raise EngineError(
            f"{len(failures)} of {len(tags)} tags of {named.familiar_name} were not pulled",
            details="; ".join(failures[:SHOWN_FAILURES]),
        )
    return results


def _platform(text: str | None) -> Platform | None:
    from runengine.registry.platform import Platform

    return Platform.parse(text) if text else None


def _client(context: ImageContext, credentials: CredentialSource | None) -> RegistryClient:
    from runengine.registry.client import RegistryClient

    settings = context.config
    return RegistryClient(
        insecure=settings.insecure_registries,
        mirrors=settings.mirrors,
        credentials=credentials,
        certs_dirs=settings.certs_dirs,
    )


def _bring(
    context: ImageContext,
    client: RegistryClient,
    ref: Reference,
    wanted: Platform | None,
    progress: Progress,
) -> PullResult:
    from runengine.registry.fetch import fetch_image

    began_ns = time.monotonic_ns()
    progress.line(f"{ref.tag or ref.digest}: Pulling from {ref.repository}")
    with garbage.arriving(context, resumable=True):
        try:
            fetched = fetch_image(client, ref, context.content, wanted)
        finally:
            for notice in client.notices:
                progress.line(f"WARNING: {notice}")
            client.notices.clear()
        for warning in fetched.warnings:
            progress.line(f"WARNING: {warning}")
        keys = _bring_layers(context, client, fetched, progress)
        result = _finish(context, fetched, keys, progress)
        _note(context, ref, result, began_ns)
        return result


def _note(context: ImageContext, ref: Reference, result: PullResult, began_ns: int) -> None:
    """Docker's ``pull`` has the name that was asked for as its object."""
    labels = labels_of(context, result.image_id)
    context.events.image(
        "pull", ref.familiar, ref.familiar_name, labels=labels, began_ns=began_ns
    )


def _is_embedded(ref: Reference) -> bool:
    return ref == reference.parse(default.NAME)


def _embedded(context: ImageContext, ref: Reference, progress: Progress) -> PullResult:
    """The image of this host's own making: its name is never asked for on the network."""
    began_ns, name = time.monotonic_ns(), str(ref)
    was_here = context.store.images.find_name(name) is not None
    image_id = default.ensure_default(context)
    image = context.store.images.get_image(image_id)
    digest = image.manifest_digest if image else ""
    state = "Image is up to date for" if was_here else "Made from this host's busybox:"
    progress.line(f"Status: {state} {default.NAME}")
    result = PullResult(image_id, digest, name, was_here)
    _note(context, ref, result, began_ns)
    return result


def _finish(
    context: ImageContext, fetched: FetchedManifest, keys: list[str], progress: Progress
) -> PullResult:
    name = str(fetched.ref)
    before = context.store.images.find_name(name)
    up_to_date = before is not None and before.image_id == fetched.image_id
    image = register.Arrived(
        fetched.image_id,
        fetched.manifest_digest,
        fetched.media_type,
        fetched.config_bytes.decode(),
        keys,
        [name, _by_digest(fetched)],
    )
    register.register(context, image)
    shown = fetched.ref.familiar
    progress.line(f"Digest: {fetched.top_digest}")
    if up_to_date:
        progress.line(f"Status: Image is up to date for {shown}")
    else:
        progress.line(f"Status: Downloaded newer image for {shown}")
    return PullResult(fetched.image_id, fetched.top_digest, name, up_to_date)


def _bring_layers(
    context: ImageContext, client: RegistryClient, fetched: FetchedManifest, progress: Progress
) -> list[str]:
    """Bring what is not here, unpacked and as a blob; returns the layers' keys, bottom first."""
    check_stackable(len(fetched.layers), f"image {fetched.ref.familiar}")
    stack = Stack(context.layers, fetched.diff_ids)
    layers = [
        Layer(index, descriptor.digest, descriptor.size, diff_id)
        for index, (descriptor, diff_id) in enumerate(
            zip(fetched.layers, fetched.diff_ids, strict=True)
        )
    ]
    missing = []
    for layer in layers:
        key = stack.key(layer.position)
        is_here = key is not None and has_blob(context, key, layer.digest)
        status = "Already exists" if is_here else "Pulling fs layer"
        progress.layer(short(layer.digest), status, 0, None if is_here else layer.size)
        if not is_here:
            missing.append(layer)
    if missing:
        missing.sort(key=lambda layer: layer.size, reverse=True)
        _Crew(context, client, fetched, stack, missing).run(progress)
    elif not _is_named(context, fetched):
        # No layer's commit has taken the documents to disk.
        context.content.sync()
    return stack.keys()


def _is_named(context: ImageContext, fetched: FetchedManifest) -> bool:
    """Whether all that the pull would write down is there already."""
    names = context.store.images
    both = (names.find_name(str(fetched.ref)), names.find_name(_by_digest(fetched)))
    return all(name is not None and name.image_id == fetched.image_id for name in both)


def _by_digest(fetched: FetchedManifest) -> str:
    return f"{fetched.ref.name}@{fetched.top_digest}"


class _Crew:
    """The processes that bring the missing layers."""

    def __init__(
        self,
        context: ImageContext,
        client: RegistryClient,
        fetched: FetchedManifest,
        stack: Stack,
        missing: list[Layer],
    ) -> None:
        self._context = context
        self._client = client
        self._ref = fetched.ref
        self._stack = stack
        self._missing = missing

    def run(self, progress: Progress) -> None:
        """Bring everything."""

        told: set[str] = set()

        def receive(message: Message) -> None:
            if "layer" in message:
                progress.layer(*message["layer"])
            elif message["notice"] not in told:
                told.add(message["notice"])  # each worker finds it out
                progress.line(f"WARNING: {message['notice']}")

        usual = min(WORKERS_LIMIT, (os.cpu_count() or 1) + 1)
        most = self._context.config.max_concurrent_downloads or usual
        tasks = len(self._missing)
        if tasks == 1:
            # A process of its own would only cost time, and the connection that there is.
            self._work(iter(range(tasks)), receive)
        else:
            workers.share(self._work, tasks, min(tasks, most), receive)

    def _work(self, numbers: Iterator[int], send: Send) -> None:
        with (
            disk_errors(self._context.paths.root),
            Arrivals(self._context, self._stack, self._fetch) as arrivals,
        ):
            for number in numbers:
                self._bring(arrivals, self._missing[number], send)
            arrivals.finish()

    def _bring(self, arrivals: Arrivals, layer: Layer, send: Send) -> None:
        """Bring one layer; a mirror that sends something else is passed over, and told."""
        try:
            while True:
                try:
                    arrivals.bring(layer, _reporter(layer, send), with_blob=True)
                    return
                except Corrupt as error:
                    # The right bytes of an image that is wrong are as wrong elsewhere.
                    is_right = self._context.content.has(layer.digest)
                    if is_right or not self._client.distrust(self._ref, error):
                        raise
        finally:
            for notice in self._client.notices:
                send({"notice": notice})
            self._client.notices.clear()

    def _fetch(self, layer: Layer, offset: int) -> Iterable[bytes]:
        # BlobWriter checks the digest, so the client need not.
        with self._client.blob(self._ref, layer, offset=offset, verify=False) as stream:
            yield from stream


def _reporter(layer: Layer, send: Callable[[Message], None]) -> Report:
    """Send each change of status, and bytes now and then."""
    last_status, last_at = "", 0.0

    def report(status: str, current: int, total: int | None) -> None:
        nonlocal last_status, last_at
        now = time.monotonic()
        if status != last_status or now - last_at >= REPORT_INTERVAL_S:
            last_status, last_at = status, now
            send({"layer": [short(layer.digest), status, current, total]})

    return report
