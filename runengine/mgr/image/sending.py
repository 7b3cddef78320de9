"""The blobs of one manifest on their way to a registry: largest first, in several processes."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from runengine.errors import NotFound
from runengine.ids import short
from runengine.mgr.image import compressing, pushable, workers
from runengine.mgr.image.context import disk_errors
from runengine.oci_spec import image, media_types

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runengine.mgr.image.compressing import Compression
    from runengine.mgr.image.context import ImageContext
    from runengine.mgr.image.progress import Progress
    from runengine.mgr.image.pushable import Layer, Pushable
    from runengine.mgr.image.workers import Message, Send
    from runengine.oci_spec.image import Descriptor
    from runengine.registry.upload import UploadClient

WORKERS_LIMIT = 4
REPORT_INTERVAL_S = 0.1
LITTLE_BYTES, LITTLE_COUNT = 1 << 20, 4


class Blobs:
    """What a manifest needs; a blob that the registry has is not sent again."""

    def __init__(
        self,
        context: ImageContext,
        client: UploadClient,
        how: Compression | None,
        sources: Mapping[str, str],
    ) -> None:
        self._context = context
        self._client = client
        self._how = how or compressing.Compression()
        self._sources = sources
        self._parts: list[tuple[str, Layer | None, Descriptor]] = []

    def send(self, found: Pushable, progress: Progress) -> dict[str, Descriptor]:
        """Send what is missing; descriptors that take the place of others, by their digest."""
        layers = {layer.wanted.digest: layer for layer in found.layers}
        for layer in layers.values():
            status = "Skipped foreign layer" if pushable.is_foreign(layer.wanted) else "Preparing"
            progress.layer(short(layer.key), status, 0, None)
        sent = [layer for layer in layers.values() if not pushable.is_foreign(layer.wanted)]
        sent.sort(key=lambda layer: (layer.other or layer.wanted).size, reverse=True)
        self._parts = [(short(layer.key), layer, layer.wanted) for layer in sent]
        config = found.manifest.config
        # First and here, so that the workers inherit the scheme and the authorization.
        if not self._client.has_blob(config.digest):
            self._parts.append(("", None, config))
        changed: dict[str, Descriptor] = {}

        def receive(message: Message) -> None:
            if "layer" in message:
                progress.layer(*message["layer"])
            else:
                old, descriptor = message["changed"]
                changed[old] = image.Descriptor.model_validate(descriptor)

        if self._is_little():
            self._work(iter(range(len(self._parts))), receive)
        else:
            count = min(len(self._parts), WORKERS_LIMIT, (os.cpu_count() or 1) + 1)
            workers.share(self._work, len(self._parts), count, receive)
        return changed

    def _is_little(self) -> bool:
        """Whether another process would cost more than it gains.

        A large blob always has one: while it is compressed a process hears no signal.
        """
        size = sum(wanted.size for _, _, wanted in self._parts)
        return size <= LITTLE_BYTES and len(self._parts) <= LITTLE_COUNT

    def _work(self, numbers: Iterator[int], send: Send) -> None:
        with disk_errors(self._context.paths.root):
            for number in numbers:
                key, layer, wanted = self._parts[number]
                report = Reporter(key, send)
                if layer is None:
                    self._bring(wanted, report)
                elif changed := self._bring_layer(layer, report):
                    document = {
                        "mediaType": changed.media_type,
                        "digest": changed.digest,
                        "size": changed.size,
                    }
                    send({"changed": [wanted.digest, document]})

    def _bring_layer(self, layer: Layer, report: Reporter) -> Descriptor | None:
        """Bring a layer; the descriptor of what went instead of the blob that was wanted."""
        if not layer.is_plain:
            if layer.other is None or self._is_there(layer.wanted, report):
                self._bring(layer.wanted, report)
                return None
            self._bring(layer.other, report)
            return layer.other
        plain = layer.other or layer.wanted
        digest, size = compressing.compress(
            self._context,
            plain.digest,
            self._how,
            lambda done: report("Compressing", done, plain.size),
        )
        compressed = image.Descriptor(
            media_type=media_types.OCI_LAYER + self._how.suffix, digest=digest, size=size
        )
        self._bring(compressed, report)
        return compressed

    def _is_there(self, wanted: Descriptor, report: Reporter) -> bool:
        """Whether the registry has, or takes from another repository, what is not here."""
        if self._client.has_blob(wanted.digest):
            return True
        source = self._sources.get(wanted.digest)
        return bool(source) and self._mounted(wanted, str(source), report)[0]

    def _bring(self, blob: Descriptor, report: Reporter) -> None:
        from runengine.registry.upload import Blob

        if report.is_done:
            return
        if self._client.has_blob(blob.digest):
            report.finish("Layer already exists")
            return
        session = None
        if source := self._sources.get(blob.digest):
            is_mounted, session = self._mounted(blob, source, report)
            if is_mounted:
                return
        content = self._context.content
        if not content.has(blob.digest):
            raise NotFound(
                f"blob {blob.digest} is neither here nor at the registry",
                resolution="pull or load the image again",
            )
        report("Pushing", 0, blob.size)
        source_file = Blob(blob.digest, blob.size, content.path(blob.digest))
        self._client.upload(
            source_file, lambda sent: report("Pushing", sent, blob.size), session
        )
        report.finish("Pushed")

    def _mounted(
        self, blob: Descriptor, source: str, report: Reporter
    ) -> tuple[bool, Any]:
        """Whether the registry took the blob from ``source``; if not, the upload it opened."""
        session = self._client.mount(blob.digest, source)
        if session is None:
            report.finish(f"Mounted from {source}")
        return session is None, session


class Reporter:
    """Sends each change of a layer's status, and bytes now and then; nothing for the config."""

    def __init__(self, key: str, send: Send) -> None:
        self._key = key
        self._send = send
        self._status, self._at = "", 0.0
        self.is_done = False

    def __call__(self, status: str, current: int, total: int | None) -> None:
        """Say how far the blob is."""
        now = time.monotonic()
        if self._key and (status != self._status or now - self._at >= REPORT_INTERVAL_S):
            self._status, self._at = status, now
            self._send({"layer": [self._key, status, current, total]})

    def finish(self, status: str) -> None:
        """The last thing to say of it."""
        self.is_done = True
        self(status, 0, None)
