"""A layer on its way from a container into the stores."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from contextlib import nullcontext
from queue import Queue
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import EngineError
from runengine.ids import DiffID
from runengine.mgr.image.arrival import Stack
from runengine.registry.incoming import IncomingBlob
from runengine.rootfs.packlayer import pack_layer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from runengine.ids import Digest
    from runengine.mgr.image.context import ImageContext
    from runengine.rootfs.changes import Change
    from runengine.rootfs.layers import Staging

CHUNK_BYTES = 1 << 20
CHUNKS_AHEAD = 8
GZIP_LEVEL = 1
"""isal's: half a gigabyte a second, for four fifths of what the best level saves."""
_GZIP_BITS = 31


class PackedLayer(NamedTuple):
    """A layer whose blob is stored."""

    diff_id: DiffID
    digest: Digest
    size: int  # bytes of the blob


class Packed(NamedTuple):
    """A layer that is read, and not stored yet: the container may go on."""

    diff_id: DiffID
    tar_bytes: int
    blob: IncomingBlob
    staging: Staging | None
    """Its files, if they were copied."""

    def store(self, context: ImageContext, below: Sequence[DiffID]) -> PackedLayer:
        """Make it durable, on top of the layers ``below``. Raises OSError.

        Copied files go into the layer store, under the key that holds above these layers only.
        """
        staging = self.staging
        digest = self.blob.commit(durable=staging is None)
        if staging is not None:
            stack = Stack(context.layers, [*below, self.diff_id])
            top = len(below)
            if stack.key(top) is None:
                # This syncs the filesystem, with the blob on it.
                key = stack.completed_key(top)
                staging.commit(key, tar_bytes=self.tar_bytes, blob=digest)
            else:
                context.layers.sync()
        return PackedLayer(self.diff_id, digest, context.content.size(digest))


def pack(
    context: ImageContext,
    held: ExitStack,
    upper: str,
    changes: Sequence[Change],
    *,
    copy: bool,
) -> Packed:
    """Read the changes in ``upper``; with ``copy`` the files hold still, and are copied too.

    What is not stored in the end goes with ``held``. Raises Conflict, EngineError, OSError.
    """
    staging = held.enter_context(context.layers.stage()) if copy else None
    blob = held.enter_context(IncomingBlob(context.content))
    with _Copier(upper, changes, staging.diff) if staging else nullcontext() as copier:
        with LayerSink(blob) as sink:
            pack_layer(upper, changes, sink)
        if copier is not None:
            copier.wait()
    return Packed(sink.diff_id, sink.tar_bytes, blob, staging)


class LayerSink:
    """Takes an archive; a thread hashes and compresses it and stores the blob.

    Leaving the context waits for the thread, and raises what it has met.
    """

    def __init__(self, blob: IncomingBlob) -> None:
        from isal import isal_zlib

        self.tar_bytes = 0
        self._blob = blob
        self._hash = hashlib.sha256()
        self._compressor: Any = isal_zlib.compressobj(GZIP_LEVEL, wbits=_GZIP_BITS)
        self._pieces: list[bytes] = []
        self._pending = 0
        self._chunks: Queue[bytes | None] = Queue(CHUNKS_AHEAD)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> LayerSink:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._chunks.put(None)
            self._thread.join()
        if kind is None and self._failure is not None:
            raise self._failure

    @property
    def diff_id(self) -> DiffID:
        """The hash of the whole archive, once the context is left."""
        return DiffID(f"sha256:{self._hash.hexdigest()}")

    def write(self, data: bytes) -> None:
        """Take these bytes."""
        self._pieces.append(data)
        self._pending += len(data)
        if self._pending >= CHUNK_BYTES:
            self._flush()

    def copy(self, fd: int, size: int) -> None:
        """Take ``size`` bytes of a file from where it stands, zeros for what it does not have."""
        self._flush()
        while size:
            chunk = os.read(fd, min(size, CHUNK_BYTES)) or bytes(min(size, CHUNK_BYTES))
            self._pass_on(chunk)
            size -= len(chunk)

    def _flush(self) -> None:
        if self._pieces:
            chunk, self._pieces, self._pending = b"".join(self._pieces), [], 0
            self._pass_on(chunk)

    def _pass_on(self, chunk: bytes) -> None:
        self.tar_bytes += len(chunk)
        if self._failure is not None:
            raise self._failure
        self._chunks.put(chunk)

    def _work(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            if self._failure is None:
                self._store(chunk)
        if self._failure is None:
            self._finish()

    def _store(self, chunk: bytes) -> None:
        try:
            self._hash.update(chunk)
            self._blob.write(self._compressor.compress(chunk))
        except BaseException as error:  # noqa: BLE001 (raised again by the writer)
            self._failure = error

    def _finish(self) -> None:
        try:
            self._blob.write(self._compressor.flush())
        except BaseException as error:  # noqa: BLE001 (raised again by the writer)
            self._failure = error


class _Copier:
    """Copies the changed files into a layer's directory, in a process of its own if it may.

    Leaving the context ends the process, done or not.
    """

    def __init__(self, upper: str, changes: Sequence[Change], target: str) -> None:
        from runengine.mgr.image import workers

        self._parts = upper, changes, target
        self._pid = 0
        if workers.may_fork():
            self._pid = os.fork()
            if not self._pid:
                self._run_and_exit()

    def __enter__(self) -> _Copier:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0

    def _run_and_exit(self) -> None:
        code = 1
        try:
            import prctl

            signal.signal(signal.SIGINT, signal.SIG_IGN)
            prctl.set_pdeathsig(signal.SIGKILL)
            _copy(*self._parts)
            code = 0
        finally:
            os._exit(code)

    def wait(self) -> None:
        """Wait until all is copied. Raises EngineError, OSError."""
        if not self._pid:
            _copy(*self._parts)
            return
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        if status:
            raise EngineError(
                "the layer's files could not be copied",
                resolution="see whether the disk of the engine's root is full",
            )


def _copy(upper: str, changes: Sequence[Change], target: str) -> None:
    from runengine.rootfs.copylayer import copy_layer

    copy_layer(upper, changes, target)
