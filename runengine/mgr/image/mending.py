"""Repairs of what ``image verify`` found: fetched again, or unpacked again.

A layer that a container has mounted is never touched: the kernel gives no promise for a layer that
changes below a mount, and a directory that is taken away leaves the container without its files.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from runengine.errors import Conflict, Corrupt, EngineError, NotFound, TimedOut
from runengine.ids import Digest
from runengine.linux import locks
from runengine.mgr.container.context import make_private_directory
from runengine.mgr.image import garbage, marking, naming
from runengine.registry import reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runengine.mgr.image.context import ImageContext
    from runengine.registry.client import BlobStream
    from runengine.registry.credentials import CredentialSource
    from runengine.rootfs.layers import Staging
    from runengine.store.containers import Record
    from runengine.store.images import StoredImage

    Mend = Callable[[], str]
    """Repairs one thing and says how. Raises EngineError."""

PATIENCE_S = 30.0
"""How long a repair waits for images that are being brought in, and for each container."""
_HOW = {
    "blob": "repair with --repair, from the registry; or pull or load the image again",
    "layer": "repair with --repair, from its blob",
    "record": "repair with --repair, from the blob of the config",
}
_WITHOUT = {
    "blob": "pull or load the image again",
    "layer": "pull or load the image again; that takes its blob anew",
    "record": "remove the image by its id and pull or load it again",
}


class _Wanted:
    """A blob as the registry client takes it."""

    def __init__(self, digest: str, size: int) -> None:
        self.digest = Digest(digest)
        self.size = size


class Mender:
    """Repairs, if it was asked to; says what is to be done otherwise."""

    def __init__(
        self,
        context: ImageContext,
        *,
        repairs: bool,
        credentials: CredentialSource | None = None,
    ) -> None:
        self._context = context
        self._repairs = repairs
        self._credentials = credentials

    def try_to(self, mend: Mend | None, kind: str) -> tuple[bool, str]:
        """Whether it was repaired; and how, or what to do."""
        if mend is None:
            return False, _WITHOUT[kind]
        if not self._repairs:
            return False, _HOW[kind]
        try:
            return True, mend()
        except EngineError as error:
            return False, f"not repaired: {error}"

    def record(self, image: StoredImage) -> str:
        """Take the config from its blob, which is right."""
        from runengine.oci_spec.image import CONFIG_LIMIT_BYTES

        config = self._context.content.read(Digest(image.image_id), CONFIG_LIMIT_BYTES)
        self._context.store.images.set_config(image.image_id, config.decode())
        return "taken from the blob of the config"

    def blob(self, digest: str, image: StoredImage | None) -> str:
        """Bring a blob again: from the image's record, or from where the image came from.

        One that no image needs is deleted.
        """
        content = self._context.content
        if image is None:
            content.remove(digest)
            return "deleted: no image needs it"
        if digest == image.image_id == _digest_of(image.config.encode()):
            self._put_anew(digest, image.config.encode())
            return "taken from the image's record"
        with garbage.in_use(self._context.paths):
            return self._fetch(digest, image)

    def _put_anew(self, digest: str, data: bytes) -> None:
        self._context.content.remove(digest)
        self._context.content.put(data)

    def _fetch(self, digest: str, image: StoredImage) -> str:
        names = self._context.store.images.names_of(image.image_id)
        pulled = [name for name in names if not naming.is_tag(name)]
        if not pulled:
            raise NotFound(
                f"no registry is known to have blob {digest}",
                resolution="load or build the image again",
            )
        failure: EngineError | None = None
        for name in pulled:
            try:
                return self._fetch_from(reference.parse(name, default_tag=None), digest, image)
            except EngineError as error:
                failure = error
        raise failure or AssertionError

    def _fetch_from(self, ref: reference.Reference, digest: str, image: StoredImage) -> str:
        """Fetched whole before the damaged one goes: what is there may still be of use."""
        from runengine.registry.client import RegistryClient

        settings = self._context.config
        size = _sizes(self._context, image).get(digest)
        with RegistryClient(
            insecure=settings.insecure_registries,
            mirrors=settings.mirrors,
            credentials=self._credentials,
            certs_dirs=settings.certs_dirs,
        ) as client:
            if size is None:
                found = client.manifest(ref._replace(tag=None, digest=Digest(digest)))
                self._put_anew(digest, found.data)
            else:
                self._download(client.blob(ref, _Wanted(digest, size), verify=False), digest, size)
        return f"fetched again from {ref.familiar_name}"

    def _download(self, stream: BlobStream, digest: str, size: int) -> None:
        content = self._context.content
        content.remove(digest)
        with content.writer(digest, size) as writer, stream as chunks:
            writer.restart()
            for chunk in chunks:
                writer.write(chunk)
            writer.commit()

    def layer(self, key: str, fresh: tuple[Staging, int, str]) -> str:
        """Put a fresh layer in the place of a damaged one. Raises Conflict while it is mounted."""
        staging, tar_bytes, blob = fresh
        layers = self._context.layers
        if not os.path.isdir(layers.directory(key)):
            staging.commit(key, tar_bytes=tar_bytes, blob=blob)
            return "unpacked again"
        with self._nobody_uses(key):
            staging.replace(key, tar_bytes=tar_bytes, blob=blob)
        return "unpacked again"

    @contextmanager
    def _nobody_uses(self, key: str) -> Iterator[None]:
        """Hold off every container that stands on the layer. Raises Conflict, TimedOut."""
        paths = self._context.paths
        with ExitStack() as held:
            try:
                # Nobody makes a container meanwhile: whose record is not there holds this shared.
                held.enter_context(locks.locked(garbage.lock_path(paths), timeout_s=PATIENCE_S))
                for record in self._users(key):
                    directory = paths.container_state(record.id)
                    make_private_directory(directory)
                    held.enter_context(locks.locked(f"{directory}/lock", timeout_s=PATIENCE_S))
            except TimeoutError as error:
                raise TimedOut(
                    f"layer {key[:12]} stays as it is: somebody is at work",
                    details=str(error),
                    resolution="try again when that has ended",
                ) from None
            mounted = [record.name for record in self._users(key) if self._is_mounted(record)]
            if mounted:
                raise Conflict(
                    f"layer {key[:12]} is mounted by {', '.join(mounted)}",
                    resolution="stop these containers, repair, and start them again",
                )
            if not self._context.layers.has(key):
                raise Corrupt(f"layer {key[:12]} has just been removed")
            yield

    def _users(self, key: str) -> list[Record]:
        return [one for one in self._context.store.containers.all() if key in one.layers]

    def _is_mounted(self, record: Record) -> bool:
        from runengine.linux.mount import is_mounted

        with suppress(OSError):
            return is_mounted(f"{self._context.paths.container(record.id)}/merged")
        return True


def _digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _sizes(context: ImageContext, image: StoredImage) -> dict[str, int]:
    """Sizes of the blobs that the image's manifest names; manifests are not among them."""
    manifest = marking.read_document(context, image.manifest_digest)
    entries = [manifest.get("config"), *(manifest.get("layers") or ())]
    try:
        return {str(entry["digest"]): int(entry["size"]) for entry in entries if entry}
    except (KeyError, TypeError, ValueError):
        return {}
