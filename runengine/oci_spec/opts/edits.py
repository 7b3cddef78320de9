"""What devices by name change in the spec (CDI's SPEC.md, "OCI Edits")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.oci_spec import devices
from runengine.oci_spec.env import merge_env
from runengine.oci_spec.mounts import depth
from runengine.oci_spec.opts.devices import node

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.linux.devices import DeviceEntry
    from runengine.model import ContainerConfig, HostConfig
    from runengine.oci_spec.cdi import Edits, Hook
    from runengine.oci_spec.facts import SpecFacts


def set_edits(
    spec: dict[str, Any], _config: ContainerConfig, host: HostConfig, facts: SpecFacts
) -> None:
    """Each edit in turn; what comes later replaces what has its name, path or target."""
    for edits in facts.edits:
        _apply(spec, edits, privileged=host["Privileged"])


def _apply(spec: dict[str, Any], edits: Edits, *, privileged: bool) -> None:
    process, linux = spec["process"], spec["linux"]
    process["env"] = merge_env(process["env"], edits.env)
    _add_groups(process["user"], edits.additional_gids)
    _add_devices(linux, edits.devices, privileged=privileged)
    if edits.mounts:
        spec["mounts"] = _with_mounts(spec["mounts"], edits.mounts)
    for hook in edits.hooks:
        _add_hook(spec, hook)
    if edits.intel_rdt is not None:
        linux["intelRdt"] = edits.intel_rdt


def _add_groups(user: dict[str, Any], gids: Sequence[int]) -> None:
    held = user.get("additionalGids", [])
    # Root's group is no device's, and a vendor must not give it away.
    wanted = [gid for gid in dict.fromkeys(gids) if gid and gid not in held]
    if wanted:
        user["additionalGids"] = [*held, *wanted]


def _add_devices(
    linux: dict[str, Any], entries: Sequence[DeviceEntry], *, privileged: bool
) -> None:
    if not entries:
        return
    nodes = {one["path"]: one for one in linux.get("devices", ())}
    nodes.update((entry.path, node(entry)) for entry in entries)
    linux["devices"] = list(nodes.values())
    if not privileged:
        linux["resources"]["devices"] += [
            devices.rule(entry.type, entry.major, entry.minor, entry.access)
            for entry in entries
            if entry.type in ("b", "c")
        ]


def _with_mounts(
    mounts: Sequence[dict[str, Any]], added: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    targets = {mount["destination"] for mount in added}
    kept = [mount for mount in mounts if mount["destination"] not in targets]
    return sorted([*kept, *added], key=lambda mount: depth(mount["destination"]))


def _add_hook(spec: dict[str, Any], hook: Hook) -> None:
    spec.setdefault("hooks", {}).setdefault(hook.when, []).append(hook.section)
