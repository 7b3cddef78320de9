"""Mounts below the engine's directories that belong to no container and no volume."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from runengine.errors import Unavailable
from runengine.mgr.check.world import Difference, World

if TYPE_CHECKING:
    from collections.abc import Iterator



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
    suspects = _rootless(world)
    if suspects:  # one that has just ended has neither process nor mount at a second look
        suspects &= _rootless(World(world.context))
    for container_id in sorted(suspects):
        name = world.records[container_id].name
        yield Difference(
            "mount",
            f"{world.context.data_dir(container_id)}/merged",
            f"somebody has unmounted the root of container {name}, which still has it",
            f"runengine restart {name}",
        )


def _rootless(world: World) -> set[str]:
    mounted = {entry.target for entry in world.mounts}
    return {
        one for one in world.live
        if f"{world.context.data_dir(one)}/merged" not in mounted
    }  # fmt: skip


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
