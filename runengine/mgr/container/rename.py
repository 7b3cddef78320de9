"""``rename``: the record first, then the monitor and the networks of a container that runs."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from runengine.errors import EngineError
from runengine.ids import check_name
from runengine.mgr.network.modes import has_networks

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record


def rename(context: Context, name: str, new_name: str) -> None:
    """Change the name. Raises AlreadyExists, InvalidParameter."""
    began_ns = time.monotonic_ns()
    container_id = context.resolve(name)
    checked = check_name(new_name)
    with context.locked(container_id) as record:
        context.store.containers.rename(container_id, checked)
        renamed = record._replace(name=checked)
        # With the slash that names have inside Docker, whose clients take it off.
        old = f"/{record.name}"
        context.events.container("rename", renamed, began_ns=began_ns, oldName=old)
        tell_monitor(context, renamed)
        _tell_networks(context, renamed)


def _tell_networks(context: Context, record: Record) -> None:
    """Let others on its networks find it by its new name from now on."""
    if has_networks(record.host_config["NetworkMode"]):
        reserved = context.networks.endpoints_of(record.id)
        if reserved:
            context.networks.refresh_names([one.network_id for one in reserved])


def tell_monitor(context: Context, record: Record) -> None:
    """Let what the monitor writes down carry the record's name; one that is gone needs none."""
    from runengine.monitor import client

    with suppress(EngineError):
        connection = client.connect(context.state_dir(record.id))
        if connection is not None:
            with connection:
                connection.update(events=context.events.for_job(record))
