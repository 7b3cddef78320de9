"""One layer on its way in: download, verify, store and unpack in one pass, once per host."""

from __future__ import annotations

import math
import os
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

from runengine.errors import Corrupt, EngineError, Unavailable, Unsupported
from runengine.ids import ChainID, DiffID, Digest, chain_ids, hex_of
from runengine.linux import locks
from runengine.mgr.image.pipeline import Tee
from runengine.registry.patience import backoff_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from runengine.mgr.image.context import ImageContext
    from runengine.registry.content import BlobWriter
    from runengine.rootfs.layers import LayerStore, Staging
    from runengine.rootfs.unpack import Unpacked

LAYERS_LIMIT = 500
"""What the kernel's overlayfs can stack (OVL_MAX_STACK)."""
ATTEMPTS = 6
"""Downloads of one blob in a row that bring nothing new before the pull gives up."""
INTERRUPTIONS_LIMIT = 200
RETRY_DELAY_S = 0.3
LOWERS_POLL_S = 0.01
READ_BYTES = 1 << 20
MIN_FREE_BYTES = 64 << 20
"""A layer that leaves less on the disk is refused: containers need to write too."""


class Layer(NamedTuple):
    """A layer of an image that is coming."""

    position: int  # 0 is the bottom
    digest: Digest
    size: int  # bytes of the blob
    diff_id: DiffID


class Readable(Protocol):
    """Anything with ``read``."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, none at the end."""


class Report(Protocol):
    """Where progress goes: Docker's status words, bytes so far and in all."""

    def __call__(self, status: str, current: int, total: int | None) -> None:
        """Say how far the layer is."""


class Fetch(Protocol):
    """Downloads a layer's blob from ``offset`` on. Raises Unavailable where it breaks off."""

    def __call__(self, layer: Layer, offset: int) -> Iterable[bytes]:
        """The bytes, in chunks."""


class Waiting(NamedTuple):
    """An unpacked layer that needs the layers below it before it is whole."""

    position: int
    blob: Digest
    staging: Staging
    unpacked: Unpacked


class Stack:
    """The layers of one image and the keys that they may have in the layer store.

    A layer's key is its diff id; where it needed the layers below it, the chain id. The bottom
    one is then hashed once more: completed from nothing, it may not pass for the same layer on
    top of others, which its chain id alone (equal to the diff id) would allow.
    """

    def __init__(self, layers: LayerStore, diff_ids: Sequence[DiffID]) -> None:
        self._layers = layers
        self.diff_ids = list(diff_ids)
        self._chain = chain_ids(self.diff_ids)

    def key(self, index: int) -> str | None:
        """The key under which this layer is unpacked here, or None."""
        candidates = (hex_of(self.diff_ids[index]), self.completed_key(index))
        return next((key for key in candidates if self._layers.has(key)), None)

    def keys(self) -> list[str]:
        """Keys of all layers, bottom first. Raises Corrupt naming one that is not there."""
        keys = []
        for index, diff_id in enumerate(self.diff_ids):
            key = self.key(index)
            if key is None:
                raise Corrupt(
                    f"layer {diff_id} is not unpacked", resolution="pull the image again"
                )
            keys.append(key)
        return keys

    def completed_key(self, index: int) -> str:
        """The key of this layer where it was completed from those below."""
        return hex_of(self._chain[index]) if index else _rehashed(self._chain[0])

    def complete(self, waiting: Waiting) -> str:
        """Finish an unpacked layer from the layers below it, and commit it.

        Waits for these, which other workers bring. Returns the key.
        """
        from runengine.rootfs.unpack import complete_layer

        lowers = [self._layers.path(self._wait(below)) for below in range(waiting.position)]
        complete_layer(waiting.staging.diff, waiting.unpacked, lowers[::-1])
        key = self.completed_key(waiting.position)
        waiting.staging.commit(key, tar_bytes=waiting.unpacked.tar_bytes, blob=waiting.blob)
        return key

    def _wait(self, index: int) -> str:
        while (key := self.key(index)) is None:
            time.sleep(LOWERS_POLL_S)
        return key


def _rehashed(chain_id: ChainID) -> str:
    import hashlib

    return hashlib.sha256(f"bottom {chain_id}".encode()).hexdigest()


def has_blob(context: ImageContext, key: str, digest: Digest) -> bool:
    """Whether a layer can be sent on as it came: by this blob, or by the one it was made from."""
    if context.content.has(digest):
        return True
    try:
        other = context.layers.info(key).blob
    except EngineError:
        return False
    return bool(other) and context.content.has(other)


def check_stackable(count: int, name: str) -> None:
    """Raise Unsupported for more layers than an overlay can have."""
    if count > LAYERS_LIMIT:
        raise Unsupported(
            f"{name} has {count} layers", details=f"overlayfs stacks at most {LAYERS_LIMIT}"
        )


def needs_lowers(unpacked: Unpacked) -> bool:
    """Whether the layer names things that only the layers below it have."""
    return unpacked.needs_lowers


class Arrivals:
    """Layers of one image coming in, in one process; leaving it drops what is not done."""

    def __init__(self, context: ImageContext, stack: Stack, fetch: Fetch) -> None:
        self._context = context
        self._stack = stack
        self._fetch = fetch
        self._waiting: list[Waiting] = []
        self._held = ExitStack()

    def __enter__(self) -> Arrivals:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def bring(self, layer: Layer, report: Report, *, with_blob: bool = False) -> None:
        """Unpack the layer, downloading it if need be; one that needs its lowers waits.

        ``with_blob`` downloads also the lost blob of a layer that is unpacked. Raises Corrupt,
        Unavailable, NotFound, EngineError (disk).
        """
        with layer_lock(self._context, layer.diff_id):
            key = self._stack.key(layer.position)
            if key is not None and with_blob and not has_blob(self._context, key, layer.digest):
                self._download_blob(layer, report)
            elif key is not None:
                report("Already exists", 0, None)
            elif not self._unpack_stored(layer, report):
                self._download(layer, report)

    def finish(self) -> None:
        """Complete what waits for its lowers, bottom first."""
        for waiting in sorted(self._waiting, key=lambda each: each.position):
            self._stack.complete(waiting)

    def _unpack_stored(self, layer: Layer, report: Report) -> bool:
        """Unpack from the content store; False if the blob is not there or no longer right."""
        content = self._context.content
        if not content.has(layer.digest):
            return False
        report("Extracting", 0, layer.size)
        try:
            with content.open(layer.digest) as blob:
                self._unpack(layer, blob, lambda: None)
        except Corrupt:
            if self._is_intact(layer.digest):
                raise
            # It was right when it came: a crash or the disk has changed it. Take it anew.
            content.remove(layer.digest)
            return False
        report("Pull complete", layer.size, layer.size)
        return True

    def _is_intact(self, digest: Digest) -> bool:
        import hashlib

        with open(self._context.content.path(digest), "rb") as blob:
            return f"sha256:{hashlib.file_digest(blob, 'sha256').hexdigest()}" == digest

    def _download(self, layer: Layer, report: Report) -> None:
        content = self._context.content
        resumed = False
        try:
            with content.writer(layer.digest, layer.size) as writer:
                resumed = writer.offset > 0
                self._receive(layer, writer, report)
            return
        except Corrupt:
            if not resumed:
                raise
        # The beginning that an earlier pull left may be what was wrong.
        with content.writer(layer.digest, layer.size) as writer:
            if not writer.is_complete:
                writer.restart()
            self._receive(layer, writer, report)

    def _download_blob(self, layer: Layer, report: Report) -> None:
        with self._context.content.writer(layer.digest, layer.size) as writer:
            for chunk in self._chunks(layer, writer, report, again=False):
                writer.write(chunk)
                report("Downloading", writer.offset, layer.size)
            writer.commit()
        report("Pull complete", layer.size, layer.size)

    def _receive(self, layer: Layer, writer: BlobWriter, report: Report) -> None:
        known = writer.offset

        def store(chunk: bytes) -> None:
            nonlocal known
            fresh = chunk[known:] if known else chunk
            known -= len(chunk) - len(fresh)
            if fresh:
                writer.write(fresh)
                report("Downloading", writer.offset, layer.size)

        with Tee(self._chunks(layer, writer, report), store) as tee:

            def settle() -> None:
                tee.drain()
                report("Download complete", layer.size, layer.size)
                # The layer's own commit syncs the filesystem with this blob on it.
                writer.commit(durable=False)

            self._unpack(layer, tee, settle)
        report("Pull complete", layer.size, layer.size)

    def _chunks(
        self, layer: Layer, writer: BlobWriter, report: Report, *, again: bool = True
    ) -> Iterator[bytes]:
        """The beginning that is on the disk, if ``again``, then the network from there on."""
        offset, failures = writer.offset, 0
        if offset and again:
            with writer.read_back() as file:
                yield from _exactly(file, offset)
        for _ in range(INTERRUPTIONS_LIMIT):
            if offset == layer.size:
                return
            try:
                for chunk in self._fetch(layer, offset):
                    offset += len(chunk)
                    failures = 0
                    yield chunk
                return
            except Unavailable:
                failures += 1
                if failures == ATTEMPTS:
                    raise
                pause_s = backoff_s(failures, RETRY_DELAY_S)
                report(f"Retrying in {math.ceil(pause_s)} seconds", offset, layer.size)
                time.sleep(pause_s)
        raise Unavailable(f"blob {layer.digest} was interrupted {INTERRUPTIONS_LIMIT} times")

    def _unpack_checked(
        self, stream: Readable, staging: Staging, settle: Callable[[], None]
    ) -> Unpacked:
        """Unpack, then ``settle`` the blob: also if it is damaged, as a wrong digest says more.

        What is refused for what it is, or for its length, need not come to its end.
        """
        try:
            unpacked = unpack(self._context, stream, staging)
        except Corrupt:
            settle()
            raise
        settle()
        return unpacked

    def _unpack(self, layer: Layer, stream: Readable, settle: Callable[[], None]) -> None:
        with ExitStack() as held:
            staging = held.enter_context(self._context.layers.stage())
            unpacked = self._unpack_checked(stream, staging, settle)
            if unpacked.diff_id != layer.diff_id:
                raise Corrupt(
                    f"layer {layer.digest} does not unpack to what its image says",
                    details=f"its diff id is {unpacked.diff_id} instead of {layer.diff_id}",
                )
            if needs_lowers(unpacked):
                self._waiting.append(Waiting(layer.position, layer.digest, staging, unpacked))
                self._held.push(held.pop_all())
                return
            key = hex_of(layer.diff_id)
            staging.commit(
                key, tar_bytes=unpacked.tar_bytes, blob=layer.digest, usage=unpacked.usage
            )


def unpack(context: ImageContext, stream: Readable, staging: Staging) -> Unpacked:
    """Unpack into the staging directory, leaving the disk's last bytes to the host."""
    from runengine.rootfs.unpack import Limits, unpack_layer

    most = context.config.max_layer_bytes
    limits = Limits(max_bytes=most, min_free_bytes=MIN_FREE_BYTES)
    return unpack_layer(stream, staging.diff, limits)


def _exactly(file: Readable, size: int) -> Iterator[bytes]:
    while size and (chunk := file.read(min(size, READ_BYTES))):
        size -= len(chunk)
        yield chunk


@contextmanager
def layer_lock(context: ImageContext, diff_id: DiffID) -> Iterator[None]:
    """One process at a time brings a layer; the others then find it there."""
    directory = f"{context.paths.root}/pulls"
    os.makedirs(directory, mode=0o700, exist_ok=True)
    path = f"{directory}/{hex_of(diff_id)}.lock"
    with locks.locked(path):
        try:
            yield
        finally:
            os.unlink(path)
