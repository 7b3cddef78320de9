"""The volume manager: volumes, and which containers mount them.

Mounting them into containers is the containers' (``mgr.container.volumes``): they ask here for
where a volume's data is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.errors import NotFound, StateError
from runengine.mgr.volume.context import VolumeContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from runengine.config import Config
    from runengine.mgr.events import Events
    from runengine.mgr.volume.removal import Pruned
    from runengine.mgr.volume.request import VolumeConfig
    from runengine.rootfs.inflate import Source
    from runengine.store.store import Store
    from runengine.store.volumes import Volume


class VolumeMgr:
    """Operations on volumes, by their exact names.

    Besides what each operation documents, all raise NotFound.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        events: Events,
        settle: Callable[[str], None],
        is_busy: Callable[[str], bool],
    ) -> None:
        self.notices: list[str] = []
        """What its operator may want to know beside the result, such as a plugin that hangs."""
        self._context = VolumeContext(config, store, events, settle, is_busy, self.notices)

    # Volumes

    def create(self, config: VolumeConfig | None = None) -> Volume:
        """Create a volume; without ``config`` an anonymous one. See ``create.create``."""
        from runengine.mgr.volume import create
        from runengine.mgr.volume.request import volume_config

        return create.create(self._context, config or volume_config())

    def get(self, name: str) -> Volume:
        """The volume with this name; plugins are asked for one that nobody here has made.

        Raises StateError if its record is damaged.
        """
        try:
            return self._context.store.volumes.get(name)
        except NotFound:
            from runengine.mgr.volume import adopt

            found = adopt.find(self._context, name)
            if found is None:
                raise
            return found

    def exists(self, name: str) -> bool:
        """Whether there is a volume with this name."""
        try:
            self.get(name)
        except NotFound:
            return False
        return True

    def list(
        self, filters: Mapping[str, Sequence[str]] | None = None, *, usage: bool = False
    ) -> list[dict[str, Any]]:
        """Volumes in the shape of Docker's ``/volumes``. See ``show.list_volumes``."""
        from runengine.mgr.volume import show

        return show.list_volumes(self._context, filters or {}, usage=usage)

    def inspect(self, name: str) -> dict[str, Any]:
        """Docker's ``/volumes/{name}``."""
        from runengine.mgr.volume import show

        return show.document(self._context, self.get(name), status=True)

    def path(self, name: str) -> str:
        """Where the volume's data is on the host, while it is in use."""
        from runengine.mgr.volume.drivers import driver_of

        volume = self.get(name)
        return driver_of(self._context, volume.driver).path(volume)

    def place(self, volume: Volume) -> str:
        """Where the volume's data is or will be; empty where only its plugin knows."""
        from runengine.mgr.volume import drivers

        if volume.driver not in drivers.BUILTIN:
            return ""
        return drivers.driver_of(self._context, volume.driver).path(volume)

    def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume with its data. Raises Conflict naming the containers that mount it.

        ``force``: one that is not there is no error, a damaged record is removed too, and one
        whose plugin is gone is forgotten.
        """
        from runengine.mgr.volume import removal

        try:
            volume = self.get(name)
        except NotFound:
            if not force:
                raise
            return
        except StateError:
            if not force:
                raise
            removal.discard(self._context, name)
            return
        removal.remove(self._context, volume.name, force=force)

    def prune(self, filters: Mapping[str, Sequence[str]] | None = None) -> Pruned:
        """Remove volumes that no container mounts; anonymous ones, unless ``all`` is true.

        Filters: all, label, label!. Raises InvalidParameter.
        """
        from runengine.mgr.volume import removal

        return removal.prune(self._context, filters or {})

    def export(self, name: str, target: int) -> None:
        """Write its files as a tar to the open file ``target``. See ``archive.export``."""
        from runengine.mgr.volume import archive

        archive.export(self._context, self.get(name), target)

    def import_from(self, name: str, source: Source) -> None:
        """Put the files of a tar into it. See ``archive.import_from``."""
        from runengine.mgr.volume import archive

        archive.import_from(self._context, self.get(name), source)

    def log_volume_event(self, name: str, action: str, **attributes: str) -> None:
        """Write an event of a volume into the journal."""
        self._context.events.volume(action, self.get(name), **attributes)

    # What containers mount

    def attach(self, name: str, container_id: str) -> Volume:
        """Note that a container mounts the volume, which keeps it. Idempotent."""
        return self.attach_all(container_id, [self.get(name)])[0]

    def attach_all(
        self, container_id: str, wanted: Sequence[Volume], anonymous: Iterable[str] = ()
    ) -> Sequence[Volume]:
        """Note it for several, making those that are not there. See ``create.attach``."""
        from runengine.mgr.volume import create

        return create.attach(self._context, container_id, wanted, anonymous)

    def detach(self, name: str, container_id: str) -> None:
        """The container mounts the volume no more. Idempotent."""
        with self._context.store.database.write():
            self._context.store.volumes.disuse(container_id, name)

    def users(self, name: str) -> Sequence[str]:
        """Ids of the containers that mount the volume, running or not."""
        return self._context.users(name)

    def hold(self, volume: Volume, container_id: str) -> str:
        """Have the data there for a container that starts; where. See ``mounting.hold``."""
        from runengine.mgr.volume import mounting

        return mounting.hold(self._context, volume, container_id)

    def release(self, names: Sequence[str], container_id: str) -> None:
        """A container that held volumes has ended. Idempotent; never fails."""
        from runengine.mgr.volume import mounting

        mounting.release_all(self._context, [*names], container_id)

    def holds(self, names: Sequence[str], container_id: str) -> bool:
        """Whether any of these is mounted for the container's run."""
        from runengine.mgr.volume import mounting

        return any(mounting.is_held(self._context, name, container_id) for name in names)

    def populate(
        self,
        volume: Volume,
        target: str,
        rootfs: str,
        destination: str,
        owners: Callable[[int, int], tuple[int, int]] | None = None,
    ) -> None:
        """Copy what the image has at ``destination`` to an empty volume. See ``populate``."""
        from runengine.mgr.volume import populate
        from runengine.mgr.volume.drivers import driver_of

        if driver_of(self._context, volume.driver).copies(volume):
            populate.populate(self._context, volume, target, rootfs, destination, owners)

    def drop(self, container_id: str, names: Sequence[str]) -> None:
        """A container mounts these no more: remove those that no other does. Never fails."""
        from runengine.mgr.volume import removal

        removal.leave(self._context, container_id, names)

    def leave(self, container_id: str, *, anonymous: bool, made: bool) -> None:
        """A container goes, and what came with it: its anonymous volumes, and those that its
        creation has made (``made``, for one that was never whole). See ``removal.leave``.
        """
        volumes = self._context.store.volumes
        names = volumes.used_by(container_id, only_anonymous=True) if anonymous else []
        names += volumes.made_for(container_id) if made else []
        if names:  # nearly never, and the rest is a dozen imports
            from runengine.mgr.volume import removal

            removal.leave(self._context, container_id, names)
