"""The part of the container manager that has to do with files: copying, looking, moving."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from runengine.mgr.container.archive import Archive, PathStat
    from runengine.mgr.container.context import Context
    from runengine.mgr.container.copying import Copied, Place
    from runengine.mgr.container.looking import Mounted
    from runengine.rootfs.extract import Extracted
    from runengine.rootfs.inflate import Source
    from runengine.store.containers import Record


class FileOperations:
    """Operations on the files of containers, whatever state these are in.

    ``name`` is an id, a name or a unique id prefix. Paths are the container's: they count from its
    root, and no link in it leads out of it.
    """

    _context: Context

    def copy(
        self, source: Place, target: Place, *, follow: bool = False, keep_owner: bool = False
    ) -> Copied:
        """Copy between the host and a container, or two containers. See ``copying.copy``."""
        from runengine.mgr.container import copying

        return copying.copy(
            self._context, source, target, follow=follow, keep_owner=keep_owner
        )

    def mount(self, name: str) -> str:
        """Show a container's files on the host; returns where. See ``looking``."""
        from runengine.mgr.container import looking

        return looking.mount_container(self._context, name)

    def unmount(self, name: str) -> bool:
        """Show them no more; False if they were not. Raises Conflict naming who uses them."""
        from runengine.mgr.container import looking

        return looking.unmount_container(self._context, name)

    def list_mounted(self) -> list[Mounted]:
        """Every container whose files are shown."""
        from runengine.mgr.container import looking

        return looking.list_mounted(self._context)

    def export_with_config(
        self, name: str, target: int, *, with_volumes: bool = False
    ) -> None:
        """Write a container with all that makes it up to an open file. See ``backup``."""
        from runengine.mgr.container import backup

        backup.export_with_config(self._context, name, target, with_volumes=with_volumes)

    def import_with_config(self, source: Source, *, name: str | None = None) -> Record:
        """Make the container that ``export_with_config`` wrote. See ``restoring``."""
        from runengine.mgr.container import restoring

        return restoring.import_with_config(self._context, source, name=name)

    def stat_path(self, name: str, path: str) -> PathStat:
        """What a path in a container is. See ``archive.stat_path``."""
        from runengine.mgr.container import archive

        return archive.stat_path(self._context, name, path)

    def is_directory(self, name: str, path: str) -> bool:
        """Whether a path leads to a directory, links followed. Raises NotFound (the container)."""
        from runengine.mgr.container import archive

        return archive.is_directory(self._context, name, path)

    def archive_path(
        self, name: str, path: str, *, follow: bool = False
    ) -> AbstractContextManager[Archive]:
        """A file or tree of a container as a tar, to be written while the block runs.

        >>> with engine.containers.archive_path("web", "/etc") as found:  # doctest: +SKIP
        ...     found.write(sys.stdout.fileno())

        See ``archive.archive_path``.
        """
        from runengine.mgr.container import archive

        return archive.archive_path(self._context, name, path, follow=follow)

    def extract_to_dir(
        self,
        name: str,
        path: str,
        source: Source,
        *,
        no_overwrite_dir_non_dir: bool = False,
        copy_uid_gid: bool = False,
    ) -> Extracted:
        """Extract a tar stream into a directory of a container. See ``archive.extract_to_dir``."""
        from runengine.mgr.container import archive

        return archive.extract_to_dir(
            self._context,
            name,
            path,
            source,
            no_overwrite_dir_non_dir=no_overwrite_dir_non_dir,
            copy_uid_gid=copy_uid_gid,
        )
