"""``checkpoint``: write a container's processes to disk, and list and delete what was written.

CRIU ends the container itself when all is written, so what is on disk is what it last was; with
``leave_running`` it goes on. Until the checkpoint is whole it has no name (``checkpoint_places``),
and what fails leaves the container as it was.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import Conflict, EngineError, NotFound, Unsupported
from runengine.linux import fsatomic
from runengine.mgr.container import checkpoint_places as places
from runengine.mgr.container import observe, pending, policy, stalled
from runengine.mgr.container.checkpoint_restore import COMMON
from runengine.mgr.container.recover import finish, settle
from runengine.mgr.container.runtime import runtime_of
from runengine.mgr.network.modes import has_networks
from runengine.runtime import criu

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record, State


class Request(NamedTuple):
    """A checkpoint that is to be made."""

    name: str
    directory: str = ""
    """Where to, an absolute path; empty: with the container."""
    leave_running: bool = False
    tcp_established: bool = False
    """Keep connections, which is refused otherwise."""
    file_locks: bool = False
    replacing: bool = False
    """There may be one with this name, which goes when the new one is whole."""


def create_checkpoint(context: Context, name: str, request: Request) -> places.Checkpoint:
    """Write a container's processes down; then it is stopped unless it is to be left running.

    Raises InvalidParameter, AlreadyExists, Conflict (it does not run, or would go with its
    checkpoint), Unsupported (a terminal), Unavailable (no criu), RuntimeFailed with CRIU's reason.
    """
    places.check_name(request.name)
    with context.locked(context.resolve(name)) as record, uninterrupted():
        if _goes(record, request) and not request.directory:
            raise Conflict(
                f"container {record.name} is removed when it stops, and its checkpoint with it",
                resolution="use --leave-running, or --checkpoint-dir",
            )
        made = take(context, record, request)
        if not request.leave_running:
            finish(context, context.store.containers.get(record.id))
        return made


def _goes(record: Record, request: Request) -> bool:
    return bool(record.host_config["AutoRemove"]) and not request.leave_running


def take(context: Context, record: Record, request: Request) -> places.Checkpoint:
    """``create_checkpoint`` for one whose lock is held; what comes after an end is the caller's.

    Without ``leave_running`` the container has ended, and the end is written down.
    """
    began_ns = time.monotonic_ns()
    state = settle(context, record)
    _check(record, pending.shown(context, record, state))
    criu.require()
    stalled.refuse(context, record.id)
    parent = places.folder(context, record.id, request.directory)
    note = places.stamped(request.name, record, _addresses(context, record))._replace(
        tcp_established=request.tcp_established, file_locks=request.file_locks
    )
    with places.staged(record, parent, note, replacing=request.replacing) as stage:
        with _stopping(context, record, for_good=not request.leave_running):
            _dump(context, record, state, stage, request)
        made = stage.commit(replacing=request.replacing)
    context.events.container("checkpoint", record, began_ns=began_ns, checkpoint=request.name)
    if not request.leave_running:
        pending.cancel(context, record.id)
        settle(context, context.store.containers.get(record.id))
    return made


def _check(record: Record, state: State) -> None:
    if not observe.is_live(state):
        raise Conflict(
            f"can not checkpoint from a {state['Status']} container",
            details=f"container {record.name} does not run",
        )
    if record.config["Tty"]:
        raise Unsupported(
            f"container {record.name} has a terminal, which cannot be checkpointed",
            resolution="create it without -t",
        )
    if "userns" in record.details:  # CRIU writes it down and cannot start it again
        raise Unsupported(
            f"container {record.name} has a user namespace, which cannot be checkpointed",
            resolution="create it with --userns host",
        )


def _addresses(context: Context, record: Record) -> Sequence[places.Address]:
    reserved = context.networks.endpoints_of(record.id)
    return [places.Address(one.network_name, one.ip, one.ip6, one.mac) for one in reserved]


@contextmanager
def _stopping(context: Context, record: Record, *, for_good: bool) -> Iterator[None]:
    """Note that the user wants it stopped before it is; not if that fails.

    Its end is as any other to the monitor and to the restart policy, which asks what is noted.
    """
    if not for_good:
        yield
        return
    containers = context.store.containers
    if record.desired != policy.STOPPED:
        containers.set_desired(record.id, policy.STOPPED)
    try:
        yield
    except BaseException:
        containers.set_desired(record.id, record.desired)
        raise


def _dump(
    context: Context, record: Record, state: State, stage: places.Stage, request: Request
) -> None:
    _name_network(context, record, state)
    settings = f"{context.state_dir(record.id)}/criu.conf"
    fsatomic.replace(settings, criu.settings(), durable=False)
    flags = {
        "--leave-running": request.leave_running,
        "--tcp-established": request.tcp_established,
        "--file-locks": request.file_locks,
    }
    options = ["--work-path", stage.directory, *COMMON]
    options += [flag for flag, is_set in flags.items() if is_set]
    runtime = runtime_of(context, record)
    try:
        runtime.checkpoint(
            record.id, stage.directory, options, settings=settings, holding=stage.lock_fd
        )
    except EngineError as error:
        log = fsatomic.read_optional(f"{stage.directory}/{criu.DUMP_LOG}") or b""
        raise criu.explained(error, log) from None


def _name_network(context: Context, record: Record, state: State) -> None:
    """Let the name by which the runtime knows its network namespace lead there again."""
    link = f"{context.state_dir(record.id)}/netns"
    if os.path.islink(link):
        fresh = f"{link}.new"
        with suppress(FileNotFoundError):
            os.unlink(fresh)
        os.symlink(f"/proc/{state['Pid']}/ns/net", fresh)
        os.rename(fresh, link)
    elif has_networks(record.host_config["NetworkMode"]):
        raise Conflict(
            f"container {record.name} was started by a version that knew no checkpoints",
            resolution="restart it first",
        )


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Keep ^C until the block ends: between its steps the container would be half of both."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def list_checkpoints(context: Context, name: str, directory: str = "") -> Sequence[str]:
    """Names of the container's checkpoints, sorted; in a shared directory only its own."""
    container_id = context.resolve(name)
    return places.names(container_id, places.folder(context, container_id, directory))


def delete_checkpoint(
    context: Context, name: str, checkpoint: str, directory: str = ""
) -> None:
    """Remove a checkpoint of the container. Raises NotFound, InvalidParameter."""
    places.check_name(checkpoint)
    with context.locked(context.resolve(name)) as record:
        parent = places.folder(context, record.id, directory)
        places.sweep(record.id, parent)
        try:
            places.remove(record, parent, checkpoint)
        except FileNotFoundError:
            raise NotFound(
                f"checkpoint {checkpoint} is not exist for container {record.name}"
            ) from None
