"""Mounts below the engine's directories that belong to no container and no volume."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from runengine.errors import Unavailable
from runengine.mgr.check.world import Difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.check.world import World


def strays(world: World) -> Iterator[Difference]:
    """Mounts in containers' directories whose container is no more, the innermost first."""
    for entry in reversed(world.mounts):
        owner = _owner(world, entry.target)
        if owner is None or owner in world.ids:
            continue
        yield Difference(
            "mount",
            entry.target,
            f"it was made for container {owner[:12]}, of which there is no record",
            "unmount it",
            partial(_unmount, entry.target),
        )


def _owner(world: World, target: str) -> str | None:
    """The container that a mount is for, by where it is."""
    for root in (f"{world.paths.root}/containers/", f"{world.paths.state}/containers/"):
        if target.startswith(root):
            return target.removeprefix(root).partition("/")[0]
    return None


def missing(world: World) -> Iterator[Difference]:
    """Running containers whose root is not mounted on the host any more."""
    mounted = {entry.target for entry in world.mounts}
    for container_id in sorted(world.live):
        target = f"{world.context.data_dir(container_id)}/merged"
        if target not in mounted and not world.is_held(container_id):
            record = world.records[container_id]
            yield Difference(
                "mount",
                target,
                f"somebody has unmounted the root of container {record.name}, which still has it",
                f"runengine restart {record.name}",
            )


def elsewhere(world: World) -> Iterator[Difference]:
    """Writable layers that are mounted a second time: two mounts of one spoil it."""
    root = f"{world.paths.root}/containers/"
    for entry in world.mounts:
        upper = next(
            (word[9:] for word in entry.super_options.split(",") if word.startswith("upperdir=")),
            "",
        )
        if upper.startswith(root) and not entry.target.startswith(root):
            yield Difference(
                "mount",
                entry.target,
                f"the writable layer {upper} is mounted here too, which spoils it",
                f"see who has done that, then: umount {entry.target}",
            )


def below_layers(world: World) -> Iterator[Difference]:
    """Mounts inside unpacked layers: containers would show what is mounted there."""
    for entry in reversed(world.mounts):
        if entry.target.startswith(f"{world.paths.layers}/"):
            yield Difference(
                "mount",
                entry.target,
                "something is mounted inside an image's layer",
                "unmount it",
                partial(_unmount, entry.target),
            )


def _unmount(target: str) -> None:
    from runengine.linux.mount import unmount

    try:
        unmount(target)
    except OSError as error:
        raise Unavailable(f"cannot unmount {target}: {error.strerror}") from None


CHECKS = (strays, missing, elsewhere, below_layers)
