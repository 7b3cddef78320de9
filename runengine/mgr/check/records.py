"""The database: whether it is whole, and whether its records can be read."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

from runengine.mgr.check.world import Difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.check.world import World
    from runengine.store.images import StoredImage


def database(world: World) -> Iterator[Difference]:
    """SQLite's own check of its file."""
    for fault in world.store.database.faults():
        yield Difference(
            "database",
            world.paths.database,
            f"is damaged: {fault}",
            "stop the service, keep a copy, and recover what can be: sqlite3 state.db .recover",
        )


def containers(world: World) -> Iterator[Difference]:
    """Containers whose documents are no JSON, or have the wrong shape."""
    for container_id, why in world.damaged.items():
        yield Difference(
            "container",
            container_id[:12],
            f"its record is damaged: {why}",
            f"remove it, with its files: runengine rm -f {container_id[:12]}",
        )


def volumes(world: World) -> Iterator[Difference]:
    """Volumes whose record cannot be read."""
    known = {volume.name for volume in world.store.volumes.all()}
    for name in sorted(world.store.volumes.names() - known):
        yield Difference(
            "volume",
            name,
            "its record is damaged: no container can be started with it",
            f"save its data, then: runengine volume rm -f {name}",
        )


def images(world: World) -> Iterator[Difference]:
    """Images whose config is not the one that their id is the digest of."""
    for image in world.store.images.all():
        if f"sha256:{hashlib.sha256(image.config.encode()).hexdigest()}" != image.image_id:
            yield Difference(
                "image",
                image.image_id[7:19],
                "the config in its record is not what its id says",
                "take it from its blob, or from its registry",
                partial(mend, world, image),
            )


def mend(world: World, image: StoredImage) -> None:
    """What ``image verify --repair`` does with an image. Raises Corrupt if something is left."""
    from runengine.errors import Corrupt
    from runengine.mgr.image import mending, verify
    from runengine.mgr.image.progress import NoProgress

    mender = mending.Mender(world.images, repairs=True)
    report = verify.verify(world.images, [image.image_id], mender, NoProgress())
    left = [fault for fault in report.faults if not fault.repaired]
    if left:
        raise Corrupt(f"{left[0].kind} {left[0].name} {left[0].what}", resolution=left[0].remedy)


CHECKS = (database, containers, volumes, images)
