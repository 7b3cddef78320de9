"""``rm``: everything of a container goes, or the record stays and says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import Conflict, Unavailable
from runengine.mgr.container import observe
from runengine.mgr.container.context import discard_state_dir
from runengine.mgr.container.recover import settle

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record


def remove(context: Context, name: str, *, force: bool) -> None:
    """Remove a container; with ``force`` a running one is killed first, at once.

    Raises NotFound, or Conflict for a running or paused container without ``force``.
    """
    from runengine.mgr.container.stop import kill_and_settle

    container_id = context.resolve(name)
    with context.locked(container_id) as record:
        state = settle(context, record)
        if observe.is_live(state):
            if not force:
                raise Conflict(
                    f"container {record.name} is not stopped, cannot remove it without flag force",
                    resolution="stop it first, or use rm -f",
                )
            kill_and_settle(context, record, state)
        remove_settled(context, context.store.containers.get(container_id))


def remove_settled(context: Context, record: Record) -> None:
    """Remove the files, then the record, of a container that does not run; the lock is held.

    ``removing`` is noted first, so that a removal cut short is taken up by the next command.
    Raises Unavailable naming what could not be removed.
    """
    context.store.containers.set_state(record.id, {**record.state, "Status": "removing"})
    data_dir = context.data_dir(record.id)
    _check_unmounted(f"{data_dir}/merged")
    for directory in (data_dir, external_log_dir(record)):
        if directory:
            _remove_tree(directory)
    context.store.containers.remove(record.id)
    discard_state_dir(context.state_dir(record.id))


def external_log_dir(record: Record) -> str | None:
    """The container's log directory outside of its data directory, if it has one."""
    directory: str | None = record.details.get("log_dir")
    return directory


def _check_unmounted(merged: str) -> None:
    """Never delete through a mount: the files below would be the image's or a user's."""
    from runengine.linux.mount import holders, is_mounted

    if is_mounted(merged):
        pids = ", ".join(str(pid) for pid in holders(merged)[:5])
        raise Unavailable(
            f"{merged} is still mounted", resolution=f"end the processes that hold it: {pids}"
        )


def _remove_tree(directory: str) -> None:
    import shutil

    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Unavailable(
            f"cannot remove {error.filename or directory}: {error.strerror}",
            resolution="remove the cause and run rm again",
        ) from None


def forget_half_made(context: Context, record: Record) -> None:
    """Undo a create that failed; the lock is held."""
    _remove_tree(context.data_dir(record.id))
    context.store.containers.remove(record.id)
    discard_state_dir(context.state_dir(record.id))
