"""All containers at once: back as they were wanted when the host comes up, down when it goes.

Each is one turn under its own lock, several at a time; whatever is wrong with one is told, and
never keeps the others from their turn.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from runengine.errors import NotFound, StateError, Unavailable
from runengine.linux import fsatomic
from runengine.mgr.container import observe, pending, reconcile
from runengine.mgr.container.context import make_private_directory
from runengine.mgr.container.recover import (
    finish,
    is_busy,
    reclaim,
    settle,
    sweep_orphans,
)
from runengine.mgr.container.stop import stop_and_settle
from runengine.store.containers import Restarts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record

    Turn = Callable[[Context, str], str | None]

STARTS_AT_ONCE = 8
"""A start keeps a processor busy; more of them at once would only make each one slower."""
STOPS_AT_ONCE = 64
"""A stop mostly waits, and at a shutdown the waits must not add up."""


def restore(context: Context) -> list[str]:
    """Bring every record in line with what is, and start what is to run; what went wrong.

    Those that others need (``container:X`` as the mode of a namespace) come first. For the
    start of the service and of the host; harmless at any time.
    """
    with suppress(FileNotFoundError):
        os.unlink(reconcile.halting_path(context))
    problems: list[str] = []
    for wave in waves(context):
        problems += _all(context, wave, _restore_one, STARTS_AT_ONCE)
    sweep_orphans(context, set(context.store.containers.ids()))
    return problems


def _restore_one(context: Context, container_id: str) -> str | None:
    return reconcile.reconcile(context, container_id, at="service")


def reconcile_all(context: Context) -> list[str]:
    """What happens after an exit, for every container: some monitor could not see to its own.

    Returns what went wrong.
    """
    return _all(context, context.store.containers.ids(), _reconcile_one, STARTS_AT_ONCE)


def _reconcile_one(context: Context, container_id: str) -> str | None:
    return reconcile.reconcile(context, container_id, at="exit")


def halt(context: Context) -> list[str]:
    """Stop every container, each with its own time-out, because the host goes down.

    What their users want stays as it is, and until ``restore`` no policy starts anything.
    Returns what went wrong. Raises Unavailable if the state directory cannot be written.
    """
    make_private_directory(context.paths.state)
    try:
        fsatomic.replace(reconcile.halting_path(context), b"", durable=False)
    except OSError as error:
        raise Unavailable(f"cannot write in {context.paths.state}: {error.strerror}") from None
    return _all(context, context.store.containers.ids(), _halt_one, STOPS_AT_ONCE)


def _halt_one(context: Context, container_id: str) -> str | None:
    with context.locked(container_id) as record:
        if observe.is_live(settle(context, record)):
            record = context.store.containers.get(container_id)
            stop_and_settle(context, record, record.state, for_good=False)
            # That the host went down was no failure of the container's.
            context.store.containers.set_desired(container_id, record.desired, Restarts())
        pending.cancel(context, container_id)
        finish(context, context.store.containers.get(container_id))
    return None


def _all(context: Context, ids: Iterable[str], turn: Turn, at_once: int) -> list[str]:
    """Give each its turn, on threads with a database connection of their own; the problems."""
    from concurrent.futures import ThreadPoolExecutor

    waiting = list(ids)
    if not waiting:
        return []
    with ThreadPoolExecutor(min(at_once, len(waiting))) as pool:
        problems = pool.map(lambda one: _take_turn(context, one, turn), waiting)
        told = zip(waiting, problems, strict=True)
        return [f"container {one[:12]}: {problem}" for one, problem in told if problem]


def _of_own_connection(context: Context) -> Context:
    """The engine with a database connection for one thread."""
    from runengine.mgr.network.manager import NetworkMgr
    from runengine.mgr.volume.manager import VolumeMgr
    from runengine.store.store import Store

    store = Store.open(context.paths)
    settings, events = context.config, context.events
    networks = NetworkMgr(settings, store, events, lambda other: reclaim(own, other))
    volumes = VolumeMgr(
        settings,
        store,
        events,
        lambda other: reclaim(own, other),
        lambda other: is_busy(own, other),
    )
    own = context._replace(store=store, networks=networks, volumes=volumes)
    return own


def _take_turn(context: Context, container_id: str, turn: Turn) -> str | None:
    try:
        own = _of_own_connection(context)
        try:
            return turn(own, container_id)
        except NotFound:
            if own.find(container_id) is None:
                return None  # removed meanwhile
            raise
        finally:
            own.store.close()
    except Exception as error:  # noqa: BLE001 - the others must have their turn
        return str(error) or type(error).__name__


def waves(context: Context) -> list[list[str]]:
    """The ids of all containers, the oldest first, so that each comes after those it needs.

    Damaged records and those that need each other in a circle come last.
    """
    records = {record.id: record for record in reversed(context.store.containers.all())}
    left = {one: _needs(context, record) & records.keys() for one, record in records.items()}
    found: list[list[str]] = []
    while left:
        wave = [one for one, needs in left.items() if not needs & left.keys() - {one}]
        if not wave:
            break
        found.append(wave)
        for one in wave:
            del left[one]
    rest = [*left, *(one for one in context.store.containers.ids() if one not in records)]
    return [*found, rest] if rest else found


def _needs(context: Context, record: Record) -> set[str]:
    host = record.host_config
    found = set()
    for key in ("NetworkMode", "IpcMode", "PidMode", "UTSMode", "UsernsMode"):
        mode = host.get(key)
        kind, _, name = str(mode).partition(":")
        if kind == "container" and name:
            with suppress(NotFound, StateError):
                found.add(context.resolve(name))
    for link in host.get("Links") or ():
        with suppress(NotFound, StateError):
            found.add(context.resolve(link.partition(":")[0]))
    return found
