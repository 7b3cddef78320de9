"""Who keeps a volume's data: the engine itself or a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from runengine.mgr.volume.local_options import LOCAL, TMPFS

if TYPE_CHECKING:
    from runengine.mgr.volume.context import VolumeContext
    from runengine.store.volumes import Volume

BUILTIN = (LOCAL, TMPFS)


class Driver(Protocol):
    """What the engine needs of whoever keeps a volume. The caller holds the volume's lock."""

    @property
    def scope(self) -> str:
        """``local``, or ``global`` where several hosts have the same volumes."""

    def check(self, volume: Volume) -> None:
        """Raise InvalidParameter for a volume that it cannot make; nothing is done yet."""

    def create(self, volume: Volume) -> None:
        """Make the volume; again after a creation that was cut short."""

    def remove(self, volume: Volume) -> None:
        """Remove the volume and its data; what is gone already is no error."""

    def path(self, volume: Volume) -> str:
        """Where its data is on this host; empty where it is nowhere at the moment."""

    def must_mount(self, volume: Volume) -> bool:
        """Whether ``mount`` and ``unmount`` do anything: what only looks is not counted."""

    def copies(self, volume: Volume) -> bool:
        """Whether an empty volume gets what the image has at its place."""

    def mount(self, volume: Volume, container_id: str) -> str:
        """Have the data there for a container that starts; where. Idempotent."""

    def unmount(self, volume: Volume, container_id: str, *, last: bool) -> None:
        """A container has ended; ``last``: no other one runs with the volume. Idempotent."""

    def status(self, volume: Volume) -> dict[str, object]:
        """What else there is to tell of it."""

    def usage(self, volume: Volume) -> int | None:
        """Bytes that its data takes; None where that is not known."""


def driver_of(context: VolumeContext, name: str) -> Driver:
    """The driver with this name. Raises NotFound."""
    if name in BUILTIN:
        from runengine.mgr.volume.local import LocalDriver

        return LocalDriver(context)
    from runengine.mgr.volume.plugin import PluginDriver

    return PluginDriver.find(context, name)
