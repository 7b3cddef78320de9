"""``load``: archives of ``docker save`` and OCI image layouts, all images of one or none."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runengine.errors import Corrupt, EngineError, InvalidParameter, NotFound
from runengine.mgr.image import apart, garbage, naming, register
from runengine.mgr.image.archive import Archive
from runengine.mgr.image.archived import images_of
from runengine.mgr.image.arrival import Arrivals, Layer, Stack
from runengine.mgr.image.context import note
from runengine.mgr.image.folder import Folder
from runengine.mgr.image.intake import media_type
from runengine.mgr.image.repair import not_stored
from runengine.mgr.image.unarchive import Unarchived
from runengine.oci_spec import image, media_types
from runengine.registry import platform as platforms
from runengine.registry import reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.ids import Digest
    from runengine.mgr.image.archive import Readable
    from runengine.mgr.image.archived import Found
    from runengine.mgr.image.context import ImageContext
    from runengine.mgr.image.progress import Progress
    from runengine.registry.platform import Platform


def load(
    context: ImageContext,
    source: Readable | str,
    *,
    name: str | None,
    platform: str | None,
    progress: Progress,
) -> list[str]:
    """Load the archive; returns names as Docker shows them, or ids of images without.

    ``source`` is a stream, or the path of a directory that has what an archive would have.
    Raises InvalidParameter, NotFound (nothing of repository ``name``), Corrupt, Unsupported.
    """
    began_ns = time.monotonic_ns()
    repository = _repository(name) if name is not None else None
    wanted = platforms.Platform.parse(platform) if platform else None

    def take_in(progress: Progress) -> Iterator[register.Arrived]:
        content = Unarchived(context, progress)
        content.read(Folder(source) if isinstance(source, str) else Archive(source))
        found = list(images_of(content, wanted, repository))
        if not found:
            raise _nothing(wanted)
        if repository:
            found = _only(found, repository)
        return (_arrive(context, each) for each in found)

    with garbage.arriving(context, resumable=False):
        loaded = []
        for each in apart.bring(context, take_in, progress):
            _tell_moves(register.register(context, each), progress)
            names = [naming.familiar(full) for full in each.names] or [each.image_id]
            note(context, "load", each.image_id, names, began_ns=began_ns)
            loaded += names
        return loaded


def _nothing(wanted: Platform | None) -> EngineError:
    if wanted is None:
        return Corrupt("the archive has no image")
    return NotFound(
        f"the archive has no image for platform {wanted}",
        resolution="load it without --platform to see what it has",
    )


def _repository(name: str) -> str:
    parsed = reference.parse(name, default_tag=None)
    if parsed.tag or parsed.digest:
        raise InvalidParameter(
            f"name to load must be a repository, without tag or digest: {name}",
            resolution=f"use {parsed.familiar_name}",
        )
    return parsed.name


def _only(found: list[Found], repository: str) -> list[Found]:
    """The images with names in the repository, with these names."""
    narrowed = [
        each._replace(names=[full for full in each.names if naming.repository(full) == repository])
        for each in found
    ]
    kept = [each for each in narrowed if each.names]
    if not kept:
        raise NotFound(
            f"no image of repository {repository} in the archive",
            resolution="load it without a name to see what it has",
        )
    return kept


def _tell_moves(moved: list[tuple[str, str]], progress: Progress) -> None:
    for full, before in moved:
        progress.line(
            f"The image {naming.familiar(full)} already exists, "
            f"renaming the old one with ID {before} to empty string"
        )


def _arrive(context: ImageContext, found: Found) -> register.Arrived:
    """Unpack what is not unpacked yet and store the documents."""
    stack = Stack(context.layers, found.diff_ids)
    with Arrivals(context, stack, not_stored) as arrivals:
        for index, taken in enumerate(found.layers):
            layer = Layer(index, taken.digest, taken.size, found.diff_ids[index])
            arrivals.bring(layer, lambda _status, _current, _total: None)
        arrivals.finish()
    context.content.put(found.config, durable=False)
    manifest = context.content.put(found.manifest or _manifest(context, found), durable=False)
    context.content.sync()  # once for both, where each would take two
    return register.Arrived(
        found.image_id,
        manifest,
        found.manifest_type,
        found.config.decode(),
        stack.keys(),
        found.names,
    )


def _manifest(context: ImageContext, found: Found) -> bytes:
    """The manifest that a docker archive does not have."""
    config = (found.image_id, len(found.config))
    return manifest_of(context, config, [(taken.digest, taken.size) for taken in found.layers])


def manifest_of(
    context: ImageContext, config: tuple[Digest, int], layers: list[tuple[Digest, int]]
) -> bytes:
    """An OCI manifest of stored blobs, by digest and size."""
    return image.Manifest(
        media_type=media_types.OCI_MANIFEST,
        config=image.Descriptor(
            media_type=media_types.OCI_CONFIG, digest=config[0], size=config[1]
        ),
        layers=[
            image.Descriptor(media_type=media_type(context, digest), digest=digest, size=size)
            for digest, size in layers
        ],
    ).to_json()
