"""The part of the container manager that has to do with checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.mgr.container.checkpoint import Request
    from runengine.mgr.container.checkpoint_moving import Arrival
    from runengine.mgr.container.checkpoint_places import Checkpoint
    from runengine.mgr.container.context import Context
    from runengine.rootfs.inflate import Source
    from runengine.store.containers import Record


class CheckpointOperations:
    """Operations on checkpoints; ``start`` brings a container back from one.

    ``name`` is an id, a name or a unique id prefix; a directory is one that the user names.
    """

    _context: Context

    def create_checkpoint(self, name: str, request: Request) -> Checkpoint:
        """Write its processes to disk; then it stops, or goes on. See ``checkpoint``."""
        from runengine.mgr.container import checkpoint

        return checkpoint.create_checkpoint(self._context, name, request)

    def list_checkpoint(self, name: str, directory: str = "") -> Sequence[str]:
        """Names of its checkpoints. See ``checkpoint.list_checkpoints``."""
        from runengine.mgr.container import checkpoint

        return checkpoint.list_checkpoints(self._context, name, directory)

    list_checkpoints = list_checkpoint

    def delete_checkpoint(self, name: str, checkpoint: str, directory: str = "") -> None:
        """Remove one of its checkpoints. Raises NotFound, InvalidParameter."""
        from runengine.mgr.container import checkpoint as module

        module.delete_checkpoint(self._context, name, checkpoint, directory)

    def export_checkpoint(
        self, name: str, target: int, request: Request, *, ignore_volumes: bool = False
    ) -> Checkpoint:
        """Write one that restores elsewhere to an open file. See ``checkpoint_moving``."""
        from runengine.mgr.container import checkpoint_moving

        return checkpoint_moving.export_checkpoint(
            self._context, name, target, request, ignore_volumes=ignore_volumes
        )

    def import_checkpoint(self, source: Source, arrival: Arrival) -> Record:
        """Make and restore the container in such a file. See ``checkpoint_moving``."""
        from runengine.mgr.container import checkpoint_moving

        return checkpoint_moving.import_checkpoint(self._context, source, arrival)

    def restore_stats(self, name: str) -> bytes:
        """What CRIU has counted at its last restore. See ``criu.statistics``."""
        from runengine.mgr.container import checkpoint_restore

        return checkpoint_restore.stats_of(self._context, self._context.resolve(name))
