"""``image verify``: whether everything stored of images still is what it was.

Blobs are hashed. A layer cannot be hashed, as no archive can be made of it that is the same byte
for byte: its blob is unpacked once more beside it, which checks the diff id too, and the two trees
are compared. What is found wrong is taken up by ``mending`` while the new tree is still there.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import EngineError, StateError
from runengine.ids import Digest
from runengine.mgr.image import garbage, marking, naming
from runengine.mgr.image.listing import document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.mgr.image.context import ImageContext
    from runengine.mgr.image.mending import Mend, Mender
    from runengine.mgr.image.progress import Progress
    from runengine.rootfs.layers import Staging
    from runengine.store.images import StoredImage

DIFFERENCES_SHOWN = 20
READ_BYTES = 1 << 20


class Fault(NamedTuple):
    """Something that is not as it should be."""

    kind: str
    """``blob``, ``layer`` or ``record``."""
    name: str
    image: str
    what: str
    details: list[str]
    repaired: bool
    remedy: str
    """What was done, or what the operator can do."""


class Report(NamedTuple):
    """What a verification found."""

    images: int
    blobs: int
    layers: int
    faults: list[Fault]

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong, or no longer."""
        return all(fault.repaired for fault in self.faults)


class Trouble(NamedTuple):
    """A fault before anybody has tried to repair it."""

    what: str
    details: list[str]


def verify(
    context: ImageContext, names: Sequence[str], mender: Mender, progress: Progress
) -> Report:
    """Verify these images, or all images and every blob beside them.

    Raises NotFound, AmbiguousName, InvalidParameter for a name.
    """
    images = context.store.images
    chosen = [naming.find(images, name).image for name in names] if names else images.all()
    verification = _Verification(context, mender, progress)
    for image in {image.image_id: image for image in chosen}.values():
        verification.image(image)
    if not names:
        verification.other_blobs()
    if garbage.is_pending(context.paths):
        garbage.sweep(context)  # what was removed while a layer was looked at
    return verification.report()


class _Verification:
    """One under way: what images share is looked at once."""

    def __init__(self, context: ImageContext, mender: Mender, progress: Progress) -> None:
        self._context = context
        self._mender = mender
        self._progress = progress
        self._images = 0
        self._blobs: dict[str, bool] = {}
        self._layers: set[str] = set()
        self._faults: list[Fault] = []

    def report(self) -> Report:
        """What was found."""
        return Report(self._images, len(self._blobs), len(self._layers), self._faults)

    def image(self, image: StoredImage) -> None:
        """Verify an image: its record, its documents, its blobs, its layers."""
        self._images += 1
        names = self._context.store.images.names_of(image.image_id)
        shown = naming.familiar(names[0]) if names else image.image_id
        self._progress.line(f"{shown}: verifying")
        image = self._record(image, shown)
        documents = {image.manifest_digest, *(name.partition("@")[2] for name in names)}
        for digest in sorted(documents - {""}):
            self._blob(digest, image, shown)
        blobs = manifest_layers(self._context, image)
        for digest, _ in blobs:
            self._blob(digest, image, shown)
        for position, key in enumerate(image.layers if _is_whole(image) else ()):
            if key not in self._layers:
                self._layers.add(key)
                self._layer(image, position, shown, blobs)

    def other_blobs(self) -> None:
        """Verify what no image that was looked at has, such as what a pull left."""
        for digest in sorted(self._context.content.digests() - self._blobs.keys()):
            self._blob(digest, None, "no image")

    def _record(self, image: StoredImage, shown: str) -> StoredImage:
        """The config is in the record and in a blob: each can stand for the other.

        Returns the image with the right one, if there is any.
        """
        if f"sha256:{hashlib.sha256(image.config.encode()).hexdigest()}" == image.image_id:
            self._blob(image.image_id, image, shown)
            return image
        intact = self._blob(image.image_id, image, shown)
        trouble = Trouble("the config in its record is not what its id says", [])
        mend = (lambda: self._mender.record(image)) if intact else None
        self._fault("record", image.image_id, shown, trouble, mend)
        if not intact:
            return image
        config = self._context.content.read(Digest(image.image_id), marking.DOCUMENT_LIMIT_BYTES)
        return image._replace(config=config.decode())

    def _blob(self, digest: str, image: StoredImage | None, shown: str) -> bool:
        if digest in self._blobs:
            return self._blobs[digest]
        trouble = blob_trouble(self._context, digest)
        self._blobs[digest] = trouble is None
        if trouble is not None:
            mended = self._fault(
                "blob", digest, shown, trouble, lambda: self._mender.blob(digest, image)
            )
            self._blobs[digest] = mended
        return self._blobs[digest]

    def _layer(
        self, image: StoredImage, position: int, shown: str, blobs: list[tuple[str, int]]
    ) -> None:
        key = image.layers[position]
        self._progress.layer(key[:12], "Verifying", 0, None)
        blob = self._blob_of(key, position, blobs, image, shown)
        if blob is None:
            # Told with the blob; whether the layer is there at all can be said without it.
            if not self._context.layers.has(key):
                trouble = Trouble("is not unpacked, and its blob cannot be used", [])
                self._fault("layer", key, shown, trouble, None)
            return
        try:
            self._compare(image, position, shown, blob)
        except EngineError as error:
            self._fault("layer", key, shown, Trouble(f"cannot be verified: {error}", []), None)
        self._progress.layer(key[:12], "Verified", 0, None)

    def _blob_of(
        self, key: str, position: int, blobs: list[tuple[str, int]], image: StoredImage, shown: str
    ) -> str | None:
        """The blob to compare with: the one that the layer came from, or the manifest's."""
        candidates = sorted(marking.layer_blobs(self._context, [key]) - {""})
        if position < len(blobs):
            candidates.append(blobs[position][0])
        return next((one for one in candidates if self._blob(one, image, shown)), None)

    def _compare(self, image: StoredImage, position: int, shown: str, blob: str) -> None:
        key = image.layers[position]
        with self._context.layers.stage() as staging:
            with garbage.in_use(self._context.paths):
                tar_bytes = unpack_beside(self._context, image, position, blob, staging)
                trouble = layer_trouble(self._context, key, staging)
            if trouble is not None:
                fresh = (staging, tar_bytes, blob)
                self._fault(
                    "layer", key, shown, trouble, lambda: self._mender.layer(key, fresh)
                )

    def _fault(
        self, kind: str, name: str, shown: str, trouble: Trouble, mend: Mend | None
    ) -> bool:
        """Note a fault and have it repaired, if that is wanted; whether it was."""
        repaired, remedy = self._mender.try_to(mend, kind)
        self._faults.append(
            Fault(kind, name, shown, trouble.what, trouble.details, repaired, remedy)
        )
        return repaired


def _is_whole(image: StoredImage) -> bool:
    """Whether its config can be read, and tells of all its layers."""
    try:
        return len(document(image)["rootfs"]["diff_ids"]) == len(image.layers)
    except (StateError, KeyError, TypeError):
        return False


def manifest_layers(context: ImageContext, image: StoredImage) -> list[tuple[str, int]]:
    """Digests and sizes of the layers that the image's manifest names, bottom first."""
    entries = marking.read_document(context, image.manifest_digest).get("layers")
    try:
        return [(str(entry["digest"]), int(entry["size"])) for entry in entries or ()]
    except (KeyError, TypeError, ValueError):
        return []


def blob_trouble(context: ImageContext, digest: str) -> Trouble | None:
    """What is wrong with a blob, read from the disk; None if it is right."""
    import os

    path = context.content.path(digest)
    actual = hashlib.sha256()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            while piece := os.read(fd, READ_BYTES):
                actual.update(piece)
        finally:
            os.close(fd)
    except FileNotFoundError:
        return Trouble("is missing", [])
    except OSError as error:
        return Trouble("cannot be read", [f"{path}: {error.strerror}"])
    if f"sha256:{actual.hexdigest()}" == digest:
        return None
    return Trouble("has other content", [f"its digest is sha256:{actual.hexdigest()}"])


def unpack_beside(
    context: ImageContext, image: StoredImage, position: int, blob: str, staging: Staging
) -> int:
    """Unpack a layer's blob into ``staging`` as it was when it came; the archive's length.

    Raises Corrupt, EngineError (no space).
    """
    from runengine.errors import Corrupt
    from runengine.mgr.image.arrival import unpack
    from runengine.rootfs.unpack import complete_layer

    diff_id = document(image)["rootfs"]["diff_ids"][position]
    with context.content.open(Digest(blob)) as stream:
        unpacked = unpack(context, stream, staging)
    if unpacked.diff_id != diff_id:
        raise Corrupt(
            f"blob {blob} does not unpack to layer {diff_id}",
            details=f"its diff id is {unpacked.diff_id}",
        )
    if unpacked.needs_lowers:
        lowers = [context.layers.path(key) for key in image.layers[:position]]
        complete_layer(staging.diff, unpacked, lowers[::-1])
    return unpacked.tar_bytes


def layer_trouble(context: ImageContext, key: str, staging: Staging) -> Trouble | None:
    """What is wrong with a layer, beside a fresh one; None if nothing is."""
    from runengine.rootfs.compare import compare

    if not context.layers.has(key):
        return Trouble("is not unpacked", [])
    found = compare(staging.diff, context.layers.path(key), DIFFERENCES_SHOWN + 1)
    details = [f"{one.path} {one.what}" for one in found[:DIFFERENCES_SHOWN]]
    if len(found) > DIFFERENCES_SHOWN:
        details.append("and more")
    if details:
        return Trouble("is not what its blob unpacks to", details)
    try:
        context.layers.info(key)
    except EngineError as error:
        return Trouble("has a damaged note of its sizes", [str(error)])
    return None

