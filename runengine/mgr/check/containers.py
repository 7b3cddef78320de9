"""Containers: what is recorded of each, and what of its last run is still on the host."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING

from runengine.mgr.check.world import Difference, World, names_in
from runengine.mgr.container import observe, recover, stalled
from runengine.mgr.container.context import discard_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.store.containers import Record

PATIENCE_S = 3.0
POLL_S = 0.2


def ended(world: World) -> Iterator[Difference]:
    """Those that have ended, or were never whole, and that nobody has cleared away.

    After an exit the monitor goes before the command comes that clears away: only what stays as
    it is for a while counts.
    """
    suspects = _untidy(world)
    deadline = time.monotonic() + PATIENCE_S
    while suspects and time.monotonic() < deadline:
        time.sleep(POLL_S)
        now = _untidy(World(world.context))
        suspects = {
            one: now[one] for one, (record, _) in suspects.items()
            if one in now and now[one][0].state == record.state
        }  # fmt: skip
    for record, (what, remedy) in suspects.values():
        yield Difference("container", record.name, what, remedy, partial(_finish, world, record))


def _untidy(world: World) -> dict[str, tuple[Record, tuple[str, str]]]:
    """Containers with what is wrong with them and what to do about it, by id."""
    found = {}
    for record in world.resting():
        told = _told(world, record)
        if told is not None:
            found[record.id] = (record, told)
    return found


def _told(world: World, record: Record) -> tuple[str, str] | None:
    """What is wrong with a container that does not run, if anything.

    An end that the monitor has written down, and that no command has read yet, is none: whoever
    looks next takes it over.
    """
    left = leftovers(world, record)
    seen = observe.observe(world.context, record)
    if record.status in ("creating", "removing"):
        what = f"its {'creation' if record.status == 'creating' else 'removal'} was cut short"
        remedy = "remove what there is of it"
    elif left:
        what, remedy = "it has ended and was not cleared away", "clear up"
    elif seen is not record.state and seen["ExitCode"] is None:
        what, remedy = "it is recorded as running and has ended", "record its end"
    else:
        return None
    return (f"{what}: there is still its {', its '.join(left)}" if left else what), remedy


def leftovers(world: World, record: Record) -> list[str]:
    """What an ended container still has of its last run."""
    context = world.context
    state_dir = context.state_dir(record.id)
    mounted = {entry.target for entry in world.mounts}
    found = []
    if os.path.exists(f"{context.paths.runtime_root}/{record.id}"):
        found.append("runtime state")
    if f"{context.data_dir(record.id)}/merged" in mounted:
        found.append("root mount")
    if f"{state_dir}/shm" in mounted:
        found.append("shared memory mount")
    if any(os.path.isdir(path) for path in record.details.get("cgroup", {}).values()):
        found.append("control group")
    if record.id in world.store.endpoints.all_holders():
        found.append("addresses")
    return found


def _finish(world: World, record: Record) -> None:
    with world.context.locked(record.id, timeout_s=recover.RECLAIM_PATIENCE_S) as current:
        recover.finish(world.context, current)


def without_files(world: World) -> Iterator[Difference]:
    """Records whose directory is gone: with it went all that the container had written."""
    for record in world.records.values():
        if not os.path.isdir(f"{world.context.data_dir(record.id)}/upper"):
            if record.status in ("creating", "removing") or world.is_held(record.id):
                continue
            yield Difference(
                "container",
                record.name,
                f"its files are gone: {world.context.data_dir(record.id)}",
                f"bring them back from a backup, or: runengine rm -f {record.name}",
            )


def files_without_record(world: World) -> Iterator[Difference]:
    """Directories of containers that there is no record of."""
    for name in names_in(f"{world.paths.root}/containers"):
        if name not in world.ids:
            yield Difference(
                "files",
                world.context.data_dir(name),
                "no container has this directory",
                "unmount what is mounted below it, and remove it",
                partial(_remove_files, world, name),
            )


def _remove_files(world: World, container_id: str) -> None:
    from runengine.linux.mount import unmount
    from runengine.mgr.container.discard import remove_data

    context = world.context
    with context.reserved(container_id, timeout_s=recover.RECLAIM_PATIENCE_S):
        if context.find(container_id) is not None:
            return
        below = f"{context.data_dir(container_id)}/"
        for entry in reversed(world.mounts):
            if entry.target.startswith(below):
                unmount(entry.target)
        remove_data(context.data_dir(container_id))
        discard_directory(context.state_dir(container_id))


def state_without_record(world: World) -> Iterator[Difference]:
    """Volatile directories of creates that died before they had a record."""
    for name in names_in(f"{world.paths.state}/containers"):
        if name not in world.ids and not world.is_held(name):
            yield Difference(
                "files",
                world.context.state_dir(name),
                "no container has this directory",
                "remove it",
                partial(recover.settle_lost, world.context, name),
            )


def unwatched(world: World) -> Iterator[Difference]:
    """Running containers whose monitor was killed: nobody writes their log, or their exit code."""
    for container_id in sorted(world.live):
        record = world.records[container_id]
        if not observe.monitor_lives(world.context, container_id):
            yield Difference(
                "container",
                record.name,
                "it runs without its monitor: its output is lost, and its exit code will be",
                f"runengine restart {record.name}",
            )


def asleep(world: World) -> Iterator[Difference]:
    """Containers whose monitor somebody has stopped: nobody sees their end."""
    for record in world.records.values():
        pid = observe.stopped_monitor(world.context, record.id)
        if pid:
            yield Difference(
                "container",
                record.name,
                f"its monitor (pid {pid}) is stopped: it passes no output on and sees no end",
                "let it go on",
                partial(stalled.wake_monitor, world.context, record.id),
            )


CHECKS = (asleep, ended, without_files, unwatched)
FILES = (files_without_record, state_without_record)
"""For when nothing runs or is mounted there any more."""
