"""``spec``: a bundle that a plain OCI runtime runs, without the engine."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from runengine import ids
from runengine.errors import AlreadyExists, Unavailable, Unsupported
from runengine.mgr.container.context import discard_directory, make_private_directory
from runengine.mgr.container.create import make_plan
from runengine.mgr.network.modes import NONE, has_networks

if TYPE_CHECKING:
    from runengine.mgr.container.context import Context
    from runengine.mgr.container.create import Plan
    from runengine.model import ContainerConfig, HostConfig
    from runengine.store.containers import Record


def write_bundle(
    context: Context, config: ContainerConfig, host: HostConfig, bundle: str
) -> list[str]:
    """Make ``bundle`` with config.json, a copy of the root filesystem and the network files.

    Nothing of the engine's state refers to it. Returns warnings. Raises AlreadyExists if there is
    a config.json or rootfs already, and what ``create`` and ``start`` raise.
    """
    for name in ("config.json", "rootfs"):
        if os.path.lexists(f"{bundle}/{name}"):
            raise AlreadyExists(
                f"{bundle}/{name} exists", resolution="give an empty or new directory"
            )
    _refuse_what_needs_the_engine(host)
    made = not os.path.isdir(bundle)
    container_id = ids.new_id()
    name = os.path.basename(os.path.abspath(bundle))
    host, warnings = _without_networks(host)
    plan = make_plan(context, container_id, name, config, host, {})
    warnings += _leave_volumes_out(plan)
    record = plan.record(container_id, name)
    try:
        _fill(context, record, os.path.abspath(bundle))
    except BaseException:
        _undo(bundle, made=made)
        raise
    return warnings + plan.warnings


def _refuse_what_needs_the_engine(host: HostConfig) -> None:
    """A bundle's files are a copy: nobody maps their owners or limits them at a start."""
    for flag, wanted in (
        ("--userns", host["UsernsMode"] not in ("", "host")),
        ("--disk-quota", bool(host.get("DiskQuota"))),
        ("--storage-opt", bool(host.get("StorageOpt"))),
    ):
        if wanted:
            raise Unsupported(f"{flag}: not for a bundle, which is a copy", resolution="drop it")


def _without_networks(host: HostConfig) -> tuple[HostConfig, list[str]]:
    """A plain runtime knows no networks: the bundle gets an empty network namespace."""
    mode = host["NetworkMode"]
    if mode and not has_networks(mode):
        return host, []
    warnings = [f"a bundle is on no network: --network {mode} is left out"] if mode else []
    return {**host, "NetworkMode": NONE, "PortBindings": {}, "PublishAllPorts": False}, warnings


def _leave_volumes_out(plan: Plan) -> list[str]:
    """A plain runtime keeps no volumes: those without a name stay part of the root filesystem."""
    kept, warnings = [], []
    for point in plan.details["points"]:
        volume = point.get("volume")
        if volume is None:
            kept.append(point)
        elif volume.get("anonymous"):
            warnings.append(
                f"a bundle has no volumes: {point['destination']} is part of its root filesystem"
            )
        else:
            raise Unsupported(
                f"volume {volume['name']}: a bundle has no volumes",
                resolution="bind a directory of the host: -v /path:/path",
            )
    plan.details["points"] = kept
    return warnings


def _fill(context: Context, record: Record, bundle: str) -> None:
    from runengine.mgr.container import facts
    from runengine.mgr.container.start import write_spec
    from runengine.oci_spec.build import build_spec

    rootfs = f"{bundle}/rootfs"
    make_private_directory(bundle)
    _copy_rootfs(context, record, rootfs)
    known = facts.gather(context, record, rootfs, bundle)
    write_spec(bundle, build_spec(record.config, record.host_config, known))


def _copy_rootfs(context: Context, record: Record, rootfs: str) -> None:
    """Copy what the overlay shows, by way of a read-only mount that is gone afterwards."""
    from runengine.rootfs.overlay import mount_overlay, unmount

    view = f"{context.state_dir(record.id)}/view"
    make_private_directory(view)
    lowers = context.images.layer_paths(record.layers)
    mount_overlay(lowers[::-1], None, None, view, readonly=True)
    try:
        done = subprocess.run(
            ["cp", "-a", "--reflink=auto", "--sparse=always", f"{view}/.", rootfs],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        unmount(view)
        os.rmdir(view)
        os.rmdir(context.state_dir(record.id))
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["cp failed"])[-1]
        raise Unavailable(f"cannot copy the root filesystem to {rootfs}: {reason}")


def _undo(bundle: str, *, made: bool) -> None:
    discard_directory(f"{bundle}/rootfs")
    for name in ("config.json", "hosts", "hostname", "resolv.conf"):
        if os.path.lexists(f"{bundle}/{name}"):
            os.unlink(f"{bundle}/{name}")
    if made and os.path.isdir(bundle) and not os.listdir(bundle):
        os.rmdir(bundle)


