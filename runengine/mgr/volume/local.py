"""The driver ``local``: a directory below the engine's root, or something mounted on it.

``tmpfs`` is the same with other defaults. What a volume shows of elsewhere (a bind, an image file,
a server) is mounted for the first container that runs with it and unmounted after the last one;
the directory itself is all that ever is deleted.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter, NotFound, Unavailable
from runengine.mgr.volume import local_mount
from runengine.mgr.volume.context import explained
from runengine.mgr.volume.local_options import TMPFS, Settings, parse

if TYPE_CHECKING:
    from runengine.mgr.volume.context import VolumeContext
    from runengine.store.volumes import Volume

DATA = "_data"


class LocalDriver:
    """Volumes of this host. See ``drivers.Driver`` for what each method is to do."""

    scope = "local"

    def __init__(self, context: VolumeContext) -> None:
        self._context = context

    def check(self, volume: Volume) -> None:
        """Raise InvalidParameter for what its options do not allow."""
        directory = _settings(volume).host_directory
        if directory and os.path.exists(directory) and not os.path.isdir(directory):
            raise InvalidParameter(f"volume {volume.name}: mount path is not a dir: {directory}")

    def create(self, volume: Volume) -> None:
        """Make its directories. Raises Unavailable, Unsupported (a size limit)."""
        settings = _settings(volume)
        place = self._place(volume)
        try:
            os.makedirs(self._context.root, mode=0o711, exist_ok=True)
            os.makedirs(place, mode=0o711, exist_ok=True)
            _make_directory(settings.host_directory or f"{place}/{DATA}")
        except OSError as error:
            raise explained(error, f"cannot make volume {volume.name}") from None
        if settings.size_bytes:
            from runengine.mgr.volume import local_quota

            root = self._context.config.paths.root
            local_quota.limit(root, place, settings.size_bytes, volume.name)

    def remove(self, volume: Volume) -> None:
        """Remove its directory; what is, or was, mounted there stays. Raises Unavailable."""
        from runengine.mgr.volume import local_quota
        from runengine.rootfs.walk import remove_tree

        place = self._place(volume)
        local_mount.unmount(f"{place}/{DATA}")
        project = local_quota.project_of(place)
        try:
            remove_tree(place)
        except OSError as error:
            raise explained(error, f"cannot remove volume {volume.name}") from None
        local_quota.lift(self._context.config.paths.root, project)

    def path(self, volume: Volume) -> str:
        """Where its data is while it is in use."""
        return _settings(volume).host_directory or f"{self._place(volume)}/{DATA}"

    def must_mount(self, volume: Volume) -> bool:
        """Whether there is something to mount."""
        return bool(_settings(volume).device)

    def copies(self, volume: Volume) -> bool:
        """Whether an empty one gets what the image has at its place."""
        settings = _settings(volume)
        return volume.driver != TMPFS and not settings.is_bind and not settings.host_directory

    def mount(self, volume: Volume, container_id: str) -> str:
        """Mount it unless it is; where. Raises NotFound (its directory), Unavailable, TimedOut."""
        del container_id
        settings = _settings(volume)
        target = self.path(volume)
        if not os.path.isdir(target):
            raise NotFound(
                f"the directory of volume {volume.name} is gone: {target}",
                resolution="bring its data back, or go on without: mkdir -p that directory",
            )
        if settings.device:
            local_mount.mount(volume.name, settings, target)
        return target

    def unmount(self, volume: Volume, container_id: str, *, last: bool) -> None:
        """After the last container: unmount what is mounted. Raises Unavailable."""
        del container_id
        if last and self.must_mount(volume):
            local_mount.unmount(self.path(volume))

    def status(self, volume: Volume) -> dict[str, object]:
        """Nothing beside what the record says."""
        del volume
        return {}

    def usage(self, volume: Volume) -> int | None:
        """Bytes that its own directory takes; None where the data is not the engine's."""
        from runengine.rootfs.usage import disk_usage

        if self.must_mount(volume) or _settings(volume).host_directory:
            return None
        try:
            return disk_usage(self.path(volume)).size_bytes
        except OSError:
            return 0

    def _place(self, volume: Volume) -> str:
        return f"{self._context.root}/{volume.name}"


def _settings(volume: Volume) -> Settings:
    return parse(volume.name, volume.driver, volume.options)


def _make_directory(path: str) -> None:
    """For everybody to read, as Docker's, whatever the umask of whoever runs the command."""
    try:
        os.makedirs(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise Unavailable(f"{path} is not a directory") from None
        return
    os.chmod(path, 0o755)  # noqa: S103 - containers' users may not be root
