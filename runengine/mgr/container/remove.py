"""``rm``: everything of a container goes, or the record stays and says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import Conflict
from runengine.mgr.container import observe
from runengine.mgr.container.discard import remove_settled
from runengine.mgr.container.recover import settle

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context


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
