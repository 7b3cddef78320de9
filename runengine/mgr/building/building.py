"""Building an image: prepare, hand over to a builder, load what it made, name it."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter, NotFound, Unavailable
from runengine.linux import locks
from runengine.mgr.building import buildah, buildkit, context
from runengine.mgr.building.dockerfile import LIMIT_BYTES, base_images
from runengine.mgr.building.request import Base, Prepared
from runengine.mgr.image import load, naming, save
from runengine.mgr.image.context import note
from runengine.mgr.image.progress import NoProgress
from runengine.registry import reference
from runengine.rootfs.walk import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runengine.mgr.building.request import BuildRequest
    from runengine.mgr.image.archive import Readable
    from runengine.mgr.image.context import ImageContext

    Pull = Callable[[str, str | None], object]
    Say = Callable[[bytes], None]

BUILDERS = (buildah.NAME, buildkit.BUILDX, buildkit.BUILDCTL)
"""In the order in which they are looked for."""
_FOLDER = "builds"


def build(
    images: ImageContext, request: BuildRequest, stdin: Readable, pull: Pull, say: Say
) -> str:
    """Build an image and give it its names; returns its id.

    ``pull`` brings a base image, ``say`` gets what the builder prints. Raises InvalidParameter,
    NotFound (a base image), Unavailable (no builder), EngineError (the build failed).
    """
    began_ns = time.monotonic_ns()
    names = [str(naming.target(tag)) for tag in request.tags]
    builder = find_builder(request.builder or images.config.builder)
    with _workplace(images) as directory:
        prepared = _prepared(images, request, directory, stdin, pull)
        result = _hand_over(images, builder, prepared, say)
        image_id = _take_back(images, result)
    for name in names:
        naming.tag(images.store.images, image_id, name)
    note(images, "build", image_id, map(naming.familiar, names), began_ns=began_ns)
    return image_id


def find_builder(name: str) -> str:
    """Path of the builder, or of the first that is installed. Raises InvalidParameter,
    Unavailable with what to install.
    """
    if name and os.path.basename(name) not in BUILDERS:
        raise InvalidParameter(
            f"unknown builder {name!r}", resolution=f"use one of {', '.join(BUILDERS)}"
        )
    for candidate in [name] if name else BUILDERS:
        path = shutil.which(candidate)
        if path is not None:
            return path
    raise Unavailable(
        f"no builder is installed: {name or ' or '.join(BUILDERS)}",
        resolution="apt-get install buildah",
    )


@contextmanager
def _workplace(images: ImageContext) -> Iterator[str]:
    """A directory for one build; what killed builds have left goes first."""
    parent = f"{images.paths.root}/{_FOLDER}"
    os.makedirs(parent, mode=0o700, exist_ok=True)
    for name in os.listdir(parent):
        if name.endswith(".lock") and (fd := locks.try_lock(f"{parent}/{name}")) is not None:
            remove_tree(f"{parent}/{name.removesuffix('.lock')}")
            os.unlink(f"{parent}/{name}")
            os.close(fd)
    directory = f"{parent}/{os.urandom(8).hex()}"
    with locks.locked(f"{directory}.lock"):
        try:
            os.mkdir(directory, 0o700)
            yield directory
        finally:
            remove_tree(directory)
            os.unlink(f"{directory}.lock")


def _prepared(
    images: ImageContext, request: BuildRequest, directory: str, stdin: Readable, pull: Pull
) -> Prepared:
    where, dockerfile = context.prepare(request, directory, stdin)
    bases = []
    if dockerfile and os.path.isfile(dockerfile):
        with open(dockerfile, "rb") as file:
            text = file.read(LIMIT_BYTES).decode(errors="replace")
        bases = _bases(images, request, text, pull)
    return Prepared(request, where, dockerfile, bases, directory)


def _bases(images: ImageContext, request: BuildRequest, text: str, pull: Pull) -> list[Base]:
    """The images that the Dockerfile builds on; those that are not here are pulled first."""
    found = []
    given = {context.partition("=")[0] for context in request.contexts}
    for name in base_images(text, request.build_args):
        if name in given:
            continue  # a context of the user's stands for it
        try:
            full = str(reference.parse(name))
        except InvalidParameter:
            continue  # the builder knows better what it means, or says so
        if request.pull or not _is_here(images, full):
            pull(full, request.platform or None)
        found.append(Base(name, full))
    return found


def _is_here(images: ImageContext, full: str) -> bool:
    try:
        naming.find(images.store.images, full)
    except NotFound:
        return False
    return True


def _hand_over(images: ImageContext, builder: str, prepared: Prepared, say: Say) -> str:
    def export(name: str, path: str) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            save.save(images, [name], fd, form=save.OCI_ARCHIVE)
        finally:
            os.close(fd)

    if os.path.basename(builder) == buildah.NAME:
        storage = f"{images.paths.root}/{_FOLDER}/storage"
        return buildah.build(builder, storage, prepared, export, say)
    return buildkit.build(builder, prepared, export, say)


def _take_back(images: ImageContext, result: str) -> str:
    """The id of the one image in the builder's result."""
    if os.path.isdir(result):
        loaded = load.load(images, result, name=None, platform=None, progress=NoProgress())
    else:
        with open(result, "rb") as stream:
            loaded = load.load(images, stream, name=None, platform=None, progress=NoProgress())
    return naming.find(images.store.images, loaded[0]).image.image_id


def prune(images: ImageContext) -> int:
    """Delete the builders' caches; returns the bytes freed. Builds under way go on without."""
    freed = cache_bytes(images)
    remove_tree(f"{images.paths.root}/{_FOLDER}/storage")
    return freed


def cache_bytes(images: ImageContext) -> int:
    """What the builders' caches take up on disk."""
    from runengine.rootfs.usage import disk_usage

    try:
        return disk_usage(f"{images.paths.root}/{_FOLDER}/storage").size_bytes
    except FileNotFoundError:
        return 0
