"""What every check looks at: the engine's records, and which containers really run."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import EngineError, StateError
from runengine.linux.locks import is_locked
from runengine.mgr.container import observe
from runengine.mgr.container.recover import is_busy, reclaim
from runengine.mgr.image.context import ImageContext
from runengine.mgr.network.context import NetworkContext
from runengine.mgr.volume.context import VolumeContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runengine.linux.mount import MountInfo
    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record


class Difference(NamedTuple):
    """Something that is not as the rest says it should be."""

    kind: str
    """What it is about: ``container``, ``mount``, ``layer``, ..."""
    name: str
    what: str
    """How it differs, and what that means."""
    remedy: str
    """What a repair does, or what the operator can do."""
    repair: Callable[[], object] | None = None


class World:
    """One look at an engine; what was looked up once stays so."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.paths = context.paths
        self.store = context.store

    @cached_property
    def images(self) -> ImageContext:
        """The engine as the image operations see it."""
        return ImageContext(self.context.config, self.store, self.context.events)

    @cached_property
    def networks(self) -> NetworkContext:
        """The engine as the network operations see it."""
        context = self.context
        return NetworkContext(
            context.config, self.store, context.events, lambda one: reclaim(context, one), []
        )

    @cached_property
    def volumes(self) -> VolumeContext:
        """The engine as the volume operations see it."""
        context = self.context
        return VolumeContext(
            context.config,
            self.store,
            context.events,
            lambda one: reclaim(context, one),
            lambda one: is_busy(context, one),
            [],
        )

    @cached_property
    def ids(self) -> set[str]:
        """Ids of all containers, those of damaged records too."""
        return set(self.store.containers.ids())

    @cached_property
    def records(self) -> dict[str, Record]:
        """Every container whose record can be read, by id."""
        return {record.id: record for record in self.store.containers.all()}

    @cached_property
    def damaged(self) -> dict[str, str]:
        """Why a container's record cannot be read, by its id."""
        found = {}
        for container_id in sorted(self.ids - self.records.keys()):
            try:
                self.store.containers.get(container_id)
            except StateError as error:
                found[container_id] = error.brief
            except EngineError:
                continue  # removed just now
        return found

    @cached_property
    def live(self) -> set[str]:
        """Ids of the containers whose processes are there."""
        return {
            record.id
            for record in self.records.values()
            if observe.is_live(observe.observe(self.context, record))
        }

    @cached_property
    def mounts(self) -> list[MountInfo]:
        """Every mount of this mount namespace."""
        from runengine.linux import mount

        return mount.mounts()

    def is_held(self, container_id: str) -> bool:
        """Whether an operation on the container is under way, or its monitor is at work."""
        lock = f"{self.context.state_dir(container_id)}/lock"
        return is_locked(lock) or observe.monitor_lives(self.context, container_id)

    def resting(self) -> Iterator[Record]:
        """Containers that do not run and that nobody is at."""
        for record in self.records.values():
            if record.id not in self.live and not self.is_held(record.id):
                yield record


def names_in(directory: str) -> list[str]:
    """What is in a directory, sorted; nothing where there is none."""
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
