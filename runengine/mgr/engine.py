"""The engine: opens the state and wires the managers to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine import config, paths
from runengine.mgr.container.context import Context
from runengine.mgr.container.manager import ContainerMgr
from runengine.mgr.container.recover import is_busy, reclaim
from runengine.mgr.events import Events
from runengine.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from runengine.mgr.image.manager import ImageMgr
    from runengine.mgr.network.manager import NetworkMgr
    from runengine.mgr.registry.manager import RegistryMgr
    from runengine.mgr.system import SystemMgr
    from runengine.mgr.volume.manager import VolumeMgr


class Engine:
    """One engine on one pair of directories; many can run side by side.

    >>> with Engine.open() as engine:  # doctest: +SKIP
    ...     engine.images.pull("debian")
    """

    def __init__(self, settings: config.Config, store: Store) -> None:
        from runengine.mgr.image.manager import ImageMgr
        from runengine.mgr.network.manager import NetworkMgr
        from runengine.mgr.registry.manager import RegistryMgr
        from runengine.mgr.system import SystemMgr
        from runengine.mgr.volume.manager import VolumeMgr

        self.config = settings
        self.store = store
        self.events = Events(settings.paths.journal)
        self.images: ImageMgr = ImageMgr(settings, store, self.events)
        self.networks: NetworkMgr = NetworkMgr(
            settings, store, self.events, lambda container_id: reclaim(context, container_id)
        )
        self.volumes: VolumeMgr = VolumeMgr(
            settings,
            store,
            self.events,
            lambda container_id: reclaim(context, container_id),
            lambda container_id: is_busy(context, container_id),
        )
        self._notices: list[str] = []
        context = Context(
            settings,
            store,
            self.images,
            self.events,
            self.networks,
            self.volumes,
            self._notices,
        )
        self.containers = ContainerMgr(context)
        self.registries: RegistryMgr = RegistryMgr(settings)
        self.system: SystemMgr = SystemMgr(context)

    @classmethod
    def open(
        cls,
        where: paths.Paths | None = None,
        *,
        cgroup_driver: str | None = None,
        insecure_registries: Sequence[str] = (),
    ) -> Engine:
        """Open the engine on these directories, or on the default ones (``paths.resolve``).

        ``cgroup_driver`` goes over the configuration file's, ``insecure_registries`` beside its.
        Raises Unavailable, StateError, InvalidParameter (configuration file).
        """
        settings = config.load(where or paths.resolve())
        if cgroup_driver is not None:
            settings = settings._replace(cgroup_driver=config.check_cgroup_driver(cgroup_driver))
        if insecure_registries:
            insecure = [*settings.insecure_registries, *insecure_registries]
            settings = settings._replace(insecure_registries=insecure)
        return cls(settings, Store.open(settings.paths))

    @property
    def notices(self) -> list[str]:
        """What was changed on the host beside containers, and what of a start is not as asked."""
        return [*self.networks.notices, *self.volumes.notices, *self._notices]

    def close(self) -> None:
        """Let go of everything; containers go on."""
        self.containers.close()
        self.store.close()

    def leave(self) -> None:
        """The same in a process that ends now, which leaves some of it to its end."""
        self.containers.close()
        self.store.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
