"""Configurations and facts for tests of the runtime spec: a fixed kernel, a fixed user."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runengine.linux.kernel import CAPABILITIES, Kernel
from runengine.model import container_config, host_config
from runengine.oci_spec.build import SpecFacts, build_spec
from runengine.oci_spec.users import User

if TYPE_CHECKING:
    from runengine.model import ContainerConfig, HostConfig

CONTAINER_ID = "0123456789abcdef" * 4

KERNEL = Kernel(
    release="6.1.0-18-amd64",
    version=(6, 1),
    machine="x86_64",
    cgroup_version=2,
    seccomp=True,
    apparmor=False,
    bounding=CAPABILITIES,
    effective=CAPABILITIES,
    namespaces=frozenset({"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"}),
)
OLD_KERNEL = KERNEL._replace(version=(4, 4), cgroup_version=1)


def config(**changes: Any) -> ContainerConfig:
    """A container configuration with some fields changed."""
    made = container_config("busybox")
    made.update(changes)  # type: ignore[typeddict-item]
    return made


def host(**changes: Any) -> HostConfig:
    """A host configuration with some fields changed."""
    made = host_config()
    made["NetworkMode"] = "none"
    made.update(changes)  # type: ignore[typeddict-item]
    return made


def facts(**changes: Any) -> SpecFacts:
    """Facts with some fields changed."""
    fields: dict[str, Any] = {
        "container_id": CONTAINER_ID,
        "rootfs": "/var/lib/runengine/containers/0123/merged",
        "hostname": CONTAINER_ID[:12],
        "args": ["/bin/sh"],
        "env": [],
        "cwd": "/",
        "user": User(0, 0, (0,), "/root", "root"),
        "kernel": KERNEL,
        "cgroups_path": f"/runengine/{CONTAINER_ID}",
    }
    return SpecFacts(**{**fields, **changes})


def build(
    config_changes: dict[str, Any] | None = None,
    host_changes: dict[str, Any] | None = None,
    **fact_changes: Any,
) -> dict[str, Any]:
    """A spec, without seccomp unless SecurityOpt is among the changes."""
    changes = {"SecurityOpt": ["seccomp=unconfined"], **(host_changes or {})}
    return build_spec(
        config(**(config_changes or {})), host(**changes), facts(**fact_changes)
    )


def difference(before: Any, after: Any, path: str = "") -> dict[str, Any]:
    """JSON pointers to what is different; null for what is no longer there."""
    if isinstance(before, dict) and isinstance(after, dict):
        found: dict[str, Any] = {}
        for key in sorted({*before, *after}):
            name = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
            if key not in after:
                found[name] = None
            elif key not in before:
                found[name] = after[key]
            else:
                found.update(difference(before[key], after[key], name))
        return found
    return {} if before == after else {path: after}


def named(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec with its mounts keyed by destination, so that a difference names them."""
    shown: dict[str, Any] = json.loads(json.dumps(spec))
    order = [mount["destination"] for mount in shown["mounts"]]
    shown["mounts"] = {mount["destination"]: mount for mount in shown["mounts"]}
    shown["mounts order"] = order
    return shown
