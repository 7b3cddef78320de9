"""``update``: change a container's settings, also while it runs."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from runengine.errors import Conflict, EngineError, InvalidParameter, TimedOut
from runengine.mgr.container import observe, pending, policy, reconcile
from runengine.mgr.container.recover import settle
from runengine.mgr.container.start import on_exit, restart_job

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runengine.mgr.container.context import Context
    from runengine.model import ContainerConfig, HostConfig, RestartPolicy
    from runengine.store.containers import Record


class Changes(NamedTuple):
    """What is to be changed; None and empty leave things as they are."""

    resources: Mapping[str, Any] = {}
    """HostConfig's keys and units."""
    restart_policy: RestartPolicy | None = None
    env: Sequence[str] = ()
    """``K=V`` sets, ``K=`` sets empty, ``K`` removes. PID 1 keeps what it has."""
    labels: Sequence[str] = ()
    """``K=V`` sets, ``K=`` and ``K`` remove."""
    annotations: Mapping[str, str] = {}
    """Are for the next start."""
    disk_quota: Mapping[str, str] = {}
    """Sizes by place, as ``--disk-quota`` has them."""


def update(context: Context, name: str, changes: Changes) -> list[str]:
    """Change all of it, or nothing; returns warnings. Limits of a live container change at once.

    Raises InvalidParameter, NotFound, Conflict for what does not go with the container's settings
    or state, and what the runtime says where the kernel refuses a limit.
    """
    from runengine.mgr.container import live_env, resources

    wanted = resources.given(changes.resources)
    if changes.restart_policy is not None:
        policy.check(changes.restart_policy)
    container_id = context.resolve(name)
    if not wanted and not any(changes[1:]):
        return []
    began_ns = time.monotonic_ns()
    with context.locked(container_id) as record:
        _check_state(record, changes)
        warnings: list[str] = []
        after = _changed(record, changes)
        if wanted:
            after, warnings = _with_limits(context, after, wanted)
        state = settle(context, record)
        with ExitStack() as stack:
            if changes.disk_quota:
                from runengine.mgr.container import disk_quota

                after = stack.enter_context(disk_quota.changed(context, after, changes.disk_quota))
            if observe.is_live(state):
                _enter(stack, context, record, after, changes, limits=bool(wanted))
            context.store.containers.set_configuration(after)
        after = after._replace(state=state)
        if observe.is_live(state) and _MOVING & wanted.keys():
            warnings += _moved(context, after)
        if changes.restart_policy is not None:
            warnings += _act(context, after)
        if changes.env and observe.is_live(state):
            live_env.tell_shells(after)
        context.events.container("update", after, began_ns=began_ns)
    return warnings


_MOVING = frozenset({"CpusetCpus", "CpusetMems", "NumaNode"})


def _moved(context: Context, record: Record) -> list[str]:
    """It has other CPUs or memory nodes: tell its execs, and see what the kernel made of it."""
    from runengine.mgr.container import placement

    told = []
    try:
        _tell_monitor(context, record, pinned=placement.cpus_of(record.host_config))
    except TimedOut as error:
        told.append(f"container {record.name}: its execs do not know of the CPUs yet: {error}")
    return told + placement.check(record, record.state["Pid"])


def _enter(
    stack: ExitStack,
    context: Context,
    before: Record,
    after: Record,
    changes: Changes,
    *,
    limits: bool,
) -> None:
    """Change what lives; all of it is taken back if anything until the stack's end fails."""
    from runengine.mgr.container import live_env, resources

    if changes.env:
        stack.enter_context(live_env.applied(context, before, changes.env))
    if limits:
        stack.enter_context(resources.applied(context, before, after.host_config))


def _check_state(record: Record, changes: Changes) -> None:
    if record.status in ("creating", "removing"):
        raise Conflict(
            f'Container {record.name} is marked for removal and cannot be "update".'
        )
    wanted = changes.restart_policy
    if wanted and record.host_config["AutoRemove"] and not policy.is_none(wanted):
        raise Conflict(
            f"cannot update container {record.name}: restart policy cannot be updated because"
            " AutoRemove is enabled for the container"
        )


def _with_limits(
    context: Context, record: Record, wanted: dict[str, Any]
) -> tuple[Record, list[str]]:
    from runengine.mgr.container import resources

    try:
        host, warnings = resources.merge(context, record, wanted)
    except EngineError as error:
        raise type(error)(
            f"cannot update container {record.name}: {error.brief}",
            details=error.details,
            resolution=error.resolution,
        ) from error
    return record._replace(host_config=host), warnings


def _changed(record: Record, changes: Changes) -> Record:
    """The record with everything new in it but the limits. Raises InvalidParameter."""
    from runengine.oci_spec import env

    host: dict[str, Any] = dict(record.host_config)
    config: dict[str, Any] = dict(record.config)
    if changes.restart_policy is not None:
        host["RestartPolicy"] = changes.restart_policy
    host["Annotations"] = {**record.host_config["Annotations"], **changes.annotations}
    config["Env"] = env.merge_env(record.config["Env"], changes.env)
    config["Labels"] = _merge_labels(record.config["Labels"], changes.labels)
    return record._replace(
        config=cast("ContainerConfig", config), host_config=cast("HostConfig", host)
    )


def _merge_labels(before: Mapping[str, str], changes: Sequence[str]) -> dict[str, str]:
    labels = dict(before)
    for item in changes:
        key, _, value = item.partition("=")
        if not key:
            raise InvalidParameter(f"invalid label {item!r}", resolution="use KEY=VALUE or KEY")
        if value:
            labels[key] = value
        else:
            labels.pop(key, None)
    return labels


def _act(context: Context, record: Record) -> list[str]:
    """Let those who wait for the container's exit, or for its restart, know."""
    if not observe.is_live(record.state):
        if policy.is_none(record.host_config["RestartPolicy"]):
            pending.cancel(context, record.id)
        return []
    try:
        changes = {"restart": restart_job(record), "on_exit": on_exit(context, record)}
        if _tell_monitor(context, record, **changes):
            return []
    except TimedOut as error:
        return [f"container {record.name}: the policy does not count yet: {error}"]
    if observe.is_live(settle(context, record)):
        return [
            f"container {record.name} runs without a monitor that could apply the policy;"
            " it counts when the service looks at the container again"
        ]
    # It ended just now, and its monitor did not know of the policy yet.
    reconcile.schedule_next(context, context.store.containers.get(record.id))
    return []


def _tell_monitor(context: Context, record: Record, **changes: Any) -> bool:
    """Change its job; False without a monitor. Raises TimedOut for one that does not answer."""
    from runengine.monitor import client

    connection = client.connect(context.state_dir(record.id))
    if connection is None:
        return False
    with connection:
        try:
            connection.update(**changes)
        except TimedOut:
            raise
        except (EngineError, OSError):
            return False
    return True
