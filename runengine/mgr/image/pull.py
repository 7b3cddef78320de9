"""``pull``: all layers at once, the largest first, each in one pass; then the names."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from runengine.ids import short
from runengine.mgr.image import default, garbage, register, workers
from runengine.mgr.image.arrival import Arrivals, Layer, Stack, check_stackable
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
    from runengine.registry.reference import Reference

WORKERS_LIMIT = 4
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
    from runengine.registry.client import RegistryClient
    from runengine.registry.fetch import fetch_image
    from runengine.registry.platform import Platform

    began_ns = time.monotonic_ns()
    ref = reference.parse(text)
    wanted = Platform.parse(platform) if platform else None
    if ref == reference.parse(default.NAME):
        result = _embedded(context, str(ref), progress)
        _note(context, ref, result, began_ns)
        return result
    settings = context.config
    progress.line(f"{ref.tag or ref.digest}: Pulling from {ref.repository}")
    with (
        garbage.arriving(context, resumable=True),
        RegistryClient(
            insecure=settings.insecure_registries,
            mirrors=settings.mirrors,
            credentials=credentials,
            certs_dirs=settings.certs_dirs,
        ) as client,
    ):
        fetched = fetch_image(client, ref, context.content, wanted)
        for notice in (*client.notices, *fetched.warnings):
            progress.line(f"WARNING: {notice}")
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


def _embedded(context: ImageContext, name: str, progress: Progress) -> PullResult:
    """The image of this host's own making: its name is never asked for on the network."""
    was_here = context.store.images.find_name(name) is not None
    image_id = default.ensure_default(context)
    image = context.store.images.get_image(image_id)
    digest = image.manifest_digest if image else ""
    state = "Image is up to date for" if was_here else "Made from this host's busybox:"
    progress.line(f"Status: {state} {default.NAME}")
    return PullResult(image_id, digest, name, was_here)


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
        [name, f"{fetched.ref.name}@{fetched.top_digest}"],
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
    """Unpack what is missing; returns the layers' keys, bottom first."""
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
        is_here = stack.key(layer.position) is not None
        status = "Already exists" if is_here else "Pulling fs layer"
        progress.layer(short(layer.digest), status, 0, None if is_here else layer.size)
        if not is_here:
            missing.append(layer)
    if missing:
        missing.sort(key=lambda layer: layer.size, reverse=True)
        _Crew(context, client, fetched, stack, missing).run(progress)
    return stack.keys()


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

        def receive(message: Message) -> None:
            progress.layer(*message["layer"])

        count = min(len(self._missing), WORKERS_LIMIT, (os.cpu_count() or 1) + 1)
        workers.share(self._work, len(self._missing), count, receive)

    def _work(self, numbers: Iterator[int], send: Send) -> None:
        with (
            disk_errors(self._context.paths.root),
            Arrivals(self._context, self._stack, self._fetch) as arrivals,
        ):
            for number in numbers:
                layer = self._missing[number]
                arrivals.bring(layer, _reporter(layer, send))
            arrivals.finish()

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
