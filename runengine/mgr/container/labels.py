"""A container's SELinux labels: chosen at create, set on what a start brings.

The level, which keeps containers apart, is part of the record: it is free again with the record.
"""

from __future__ import annotations

import contextlib
import os
import random
from typing import TYPE_CHECKING, Any

from runengine.errors import InvalidParameter, Unavailable, Unsupported
from runengine.oci_spec import security_opt, selinux
from runengine.oci_spec.selinux import Labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.linux.selinux import Policy
    from runengine.mgr.container.context import Context
    from runengine.model import HostConfig
    from runengine.oci_spec.facts import SpecFacts
    from runengine.oci_spec.mounts import MountPoint
    from runengine.store.containers import Record

DETAIL = "selinux"
"""Key of the labels in a record's details."""
_DRAWS = 10_000


@contextlib.contextmanager
def chosen(context: Context, host: HostConfig, policy: Policy) -> Iterator[dict[str, Any]]:
    """What the details of a new container's record say of its labels, where SELinux is on.

    While the block runs the record is to be added. Raises Unsupported if labels are asked for
    that the policy has no place for.
    """
    options = selinux.parse(security_opt.parse(host["SecurityOpt"]).labels)
    if host["Privileged"] or "host" in (host["PidMode"], host["IpcMode"]):
        options = options._replace(disabled=True)  # it is to see what is not its own
    if not policy.process:
        _refuse_without_policy(options)
        yield {}
        return
    from runengine.linux.locks import locked

    with locked(f"{context.paths.root}/{DETAIL}.lock"):
        yield {DETAIL: _choose(context, host, options, policy)._asdict()}


def _refuse_without_policy(options: selinux.Options) -> None:
    if options.parts and not options.disabled:
        part, value = options.parts[0]
        raise Unsupported(
            f"--security-opt label={part}:{value}: the policy has no labels for containers",
            resolution="install container-selinux, or leave it out",
        )


def _choose(
    context: Context, host: HostConfig, options: selinux.Options, policy: Policy
) -> Labels:
    try:
        process, file = map(selinux.parse_context, policy)
    except ValueError as error:
        raise Unavailable(f"the policy's labels for containers: {error}") from None
    joined = _joined(context, host)
    if joined:  # whoever shares processes or memory must be able to use them
        process, level = selinux.parse_context(joined), selinux.level_of(joined)
    else:
        level = _free_level(context)
    return selinux.labels(options, process, file, level)


def _joined(context: Context, host: HostConfig) -> str:
    """The process label of the container whose pid or IPC namespace it joins, if it has one."""
    for mode in (host["PidMode"], host["IpcMode"]):
        kind, _, name = mode.partition(":")
        if kind == "container":
            other = context.store.containers.get(context.resolve(name))
            return labels_of(other).process
    return ""


def _free_level(context: Context) -> str:
    taken = (
        selinux.level_of(entry["mount"]) for entry in context.store.containers.details_with(DETAIL)
    )
    draws = (random.sample(range(selinux.CATEGORIES), 2) for _ in range(_DRAWS))
    found = selinux.free_level(taken, draws)
    if found is None:
        raise Unavailable("no SELinux categories are free", resolution="remove containers")
    return found


def labels_of(record: Record) -> Labels:
    """The container's labels; empty ones where it was made without SELinux."""
    return Labels(**record.details.get(DETAIL, {"process": "", "mount": ""}))


def apply(record: Record, known: SpecFacts) -> None:
    """Label what the container brings along, and let the spec know.

    Raises InvalidParameter for a bind that is never relabelled.
    """
    from runengine.linux.selinux import set_label

    mine = labels_of(record)
    if not mine.mount:
        return
    known.labels = mine
    for path in known.network_files.values():
        set_label(path, mine.mount)
    for point in known.mounts:
        label = wanted(point, mine.mount)
        if label:
            _relabel(point, label)


def wanted(point: MountPoint, label: str) -> str:
    """The label for a mount's source: ``:Z`` is for this container alone, volumes are for all."""
    words = point.mode.split(",")
    if "Z" in words:
        return label
    return selinux.shared(label) if "z" in words or point.volume is not None else ""


def _relabel(point: MountPoint, label: str) -> None:
    from runengine.rootfs.relabel import relabel

    real = os.path.realpath(point.source)
    if real in selinux.NEVER_RELABEL:
        raise InvalidParameter(
            f"SELinux relabeling of {real} is not allowed: programs of the host need its labels",
            resolution="bind something below it, or leave :z and :Z out",
        )
    relabel(real, label)
