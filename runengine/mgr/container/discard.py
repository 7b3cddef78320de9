"""Taking away everything of a container that does not run: files first, then the record."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING

from runengine.errors import Unavailable
from runengine.mgr.container import shown
from runengine.mgr.container.context import discard_directory

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record, State


def remove_settled(
    context: Context, record: Record, *, volumes: bool = False, made: bool = False
) -> None:
    """Remove the files, then the record, of a container that does not run; the lock is held.

    ``volumes``: its anonymous volumes, too; ``made``: all that its creation made. ``removing`` is
    noted first, so that a removal cut short is taken up by the next command. Raises Unavailable
    naming what could not be removed.
    """
    began_ns = time.monotonic_ns()
    shown.let_go(context.data_dir(record.id))
    volumes = volumes or record.state.get("RemoveVolumes", False)
    noted: State = {**record.state, "Status": "removing", "RemoveVolumes": volumes}
    context.store.containers.set_state(record.id, noted)
    if "quota" in record.details:
        from runengine.mgr.container import disk_quota

        disk_quota.release(context, record)
    context.volumes.leave(record.id, anonymous=volumes, made=made or record.status == "creating")
    remove_data(context.data_dir(record.id))
    _remove_external_log(record)
    context.store.containers.remove(record.id)
    if record.status != "creating":  # one that was never whole has no events at all
        context.events.container("destroy", record, began_ns=began_ns)
    discard_directory(context.state_dir(record.id))


def remove_data(data_dir: str) -> None:
    """Remove a container's persistent directory. Raises Unavailable or Conflict, naming who."""
    shown.let_go(data_dir)
    _check_unmounted(f"{data_dir}/merged")
    _remove_tree(data_dir)


def _remove_external_log(record: Record) -> None:
    directory = external_log_dir(record)
    if directory:
        _remove_tree(directory)


def external_log_dir(record: Record) -> str | None:
    """The container's log directory outside of its data directory, if it has one."""
    directory: str | None = record.details.get("log_dir")
    return directory


def _check_unmounted(merged: str) -> None:
    """Never delete through a mount: the files below would be the image's or a user's."""
    from runengine.linux import holders
    from runengine.linux.mount import is_mounted

    if is_mounted(merged):
        raise Unavailable(
            f"{merged} is still mounted",
            details=holders.describe(merged),
            resolution="end what holds it and run rm again",
        )


def _remove_tree(directory: str) -> None:
    from runengine.rootfs.walk import remove_tree

    try:
        remove_tree(directory)
    except OSError as error:
        raise Unavailable(
            f"cannot remove {directory}: {error.filename or ''} {error.strerror}",
            details=_who_is_in_the_way(directory, error),
            resolution="remove the cause and run rm again",
        ) from None


def _who_is_in_the_way(directory: str, error: OSError) -> str | None:
    """What is mounted below, and who uses it, if that is why a tree cannot be removed."""
    if error.errno not in (errno.EBUSY, errno.EXDEV):
        return None
    from runengine.linux import holders, mount

    below = [one.target for one in mount.mounts() if one.target.startswith(f"{directory}/")]
    if not below:
        return holders.describe(directory)
    return f"{', '.join(below)} mounted there; {holders.describe(below[0])}"


def forget_half_made(context: Context, record: Record) -> None:
    """Undo a create that failed; the lock is held."""
    context.volumes.leave(record.id, anonymous=True, made=True)
    _remove_tree(context.data_dir(record.id))
    _remove_external_log(record)
    context.store.containers.remove(record.id)
    discard_directory(context.state_dir(record.id))
