"""Build a runtime spec: one small function per part of it, applied in order. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.oci_spec.facts import SpecFacts
from runengine.oci_spec.opts import (
    devices,
    edits,
    mounts,
    namespaces,
    process,
    resources,
    security,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.model import ContainerConfig, HostConfig

    Spec = dict[str, Any]
    SpecOpt = Callable[[Spec, ContainerConfig, HostConfig, SpecFacts], None]

__all__ = ["OCI_VERSION", "SpecFacts", "build_spec"]

# What the oldest supported runtime (runc 1.1) accepts; the newer keys are left out.
OCI_VERSION = "1.0.2"

# Later ones read what earlier ones wrote: seccomp needs the capabilities, resources the devices.
OPTIONS: tuple[SpecOpt, ...] = (
    process.set_process,
    process.set_rlimits,
    mounts.set_mounts,
    namespaces.set_namespaces,
    devices.set_devices,
    resources.set_resources,
    resources.set_memory_policy,
    edits.set_edits,
    security.set_paths,
    security.set_seccomp,
    security.set_apparmor,
    security.set_selinux,
)


def build_spec(config: ContainerConfig, host: HostConfig, facts: SpecFacts) -> Spec:
    """The runtime spec of a container. Raises InvalidParameter or Unsupported."""
    spec: Spec = {
        "ociVersion": OCI_VERSION,
        "process": {},
        "root": {"path": _root_path(facts), "readonly": host["ReadonlyRootfs"]},
        "mounts": [],
        "linux": {"cgroupsPath": facts.cgroups_path, "resources": {}},
    }
    if host["Annotations"]:
        spec["annotations"] = dict(host["Annotations"])
    for option in OPTIONS:
        option(spec, config, host, facts)
    if facts.systemd is not None:
        from runengine.oci_spec import systemd

        systemd.set_up(spec, facts, facts.systemd)
    return spec


def _root_path(facts: SpecFacts) -> str:
    return facts.userns.rootfs if facts.userns else facts.rootfs
