"""``--systemd``: a container whose process 1 is systemd, with what that needs to boot.

Sources: systemd's "Container Interface"; podman-run(1); cgroups(7) "Delegation".

The first process finds an empty /run and /tmp, a cgroup of its own to divide, and in its
environment what it runs in. It has no more privileges than any other container's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.errors import InvalidParameter, Unsupported
from runengine.oci_spec import namespaces, user_mounts
from runengine.oci_spec.mounts import depth

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runengine.linux.kernel import Kernel
    from runengine.model import ContainerConfig, HostConfig
    from runengine.oci_spec.facts import SpecFacts

ALWAYS, ON, OFF = "always", "true", "false"
MODES = (ALWAYS, OFF, ON)
PROGRAMS = frozenset({"/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init"})
STOP_SIGNAL = "SIGRTMIN+3"
"""What systemd takes for "halt"; at SIGTERM it would run itself anew."""
CGROUPS = "/sys/fs/cgroup"
HIERARCHY = "systemd"
"""Of cgroup v1: the named hierarchy that has no controllers and is systemd's own."""

_TMPFS = {
    "/run": "mode=755",
    "/run/lock": "mode=1777",
    "/tmp": "mode=1777",  # noqa: S108 - the container's
    "/var/log/journal": "mode=755",
}


def is_wanted(mode: str, command: Sequence[str]) -> bool:
    """Whether a container with this command is one. Raises InvalidParameter for the mode."""
    if mode not in ("", *MODES):
        raise InvalidParameter(f"invalid --systemd {mode!r}", resolution=f"use {', '.join(MODES)}")
    return mode == ALWAYS or (mode != OFF and is_init(command))


def is_init(command: Sequence[str]) -> bool:
    """Whether it is what images call their init."""
    program = command[0] if command else ""
    return program in PROGRAMS or program.rpartition("/")[2] == "systemd"


def obstacle(host: HostConfig, kernel: Kernel, cgroup: Mapping[str, str]) -> Unsupported | None:
    """What keeps systemd from booting in such a container. ``cgroup`` are its directories."""
    if host["Init"]:
        return Unsupported(
            "--init is process 1, and systemd has to be", resolution="drop one of the two"
        )
    if host["PidMode"] not in ("", namespaces.PRIVATE):
        return Unsupported(
            f"--pid {host['PidMode']}: systemd has to be process 1", resolution="leave --pid out"
        )
    if any(point.destination == CGROUPS for point in user_mounts.resolve_all(host)):
        return None  # as the users of Docker do it: what is there is what they chose
    if host["CgroupnsMode"] == namespaces.HOST or "cgroup" not in kernel.namespaces:
        return Unsupported(
            "systemd needs a cgroup namespace, or it would divide the host's cgroups",
            resolution="leave --cgroupns host out; it takes a kernel from 4.6 on",
        )
    if kernel.cgroup_version == 2:
        return None
    if HIERARCHY not in cgroup:
        return Unsupported(
            "systemd on cgroup v1 needs the hierarchy of its name, and this host has none",
            resolution=f"mkdir {CGROUPS}/systemd; mount -t cgroup -o none,name=systemd systemd "
            f"{CGROUPS}/systemd",
        )
    if host["UsernsMode"] not in ("", namespaces.HOST):
        return Unsupported(
            "systemd in a user namespace needs cgroup v2: v1 gives no cgroup away",
            resolution="leave --userns out, or boot with systemd.unified_cgroup_hierarchy=1",
        )
    return None


def decide(config: ContainerConfig, host: HostConfig) -> None:
    """Complete the configuration of such a container where neither user nor image say."""
    config["StopSignal"] = config["StopSignal"] or STOP_SIGNAL
    host["CgroupnsMode"] = host["CgroupnsMode"] or namespaces.PRIVATE


def set_up(spec: dict[str, Any], facts: SpecFacts, cgroup: str) -> None:
    """The mounts and variables; ``cgroup`` is its directory in the v1 hierarchy, empty on v2.

    What the user mounts or sets stays.
    """
    taken = {mount["destination"] for mount in spec["mounts"]}
    mounts = [_tmpfs(path, mode) for path, mode in _TMPFS.items() if path not in taken]
    mounts += _cgroups(spec["mounts"], cgroup, taken)
    spec["mounts"] = sorted([*spec["mounts"], *mounts], key=lambda one: depth(one["destination"]))
    _set_variables(spec["process"]["env"], facts.container_id)


def _tmpfs(path: str, mode: str) -> dict[str, Any]:
    # Programs may be run there: units put scripts into /run, installers into /tmp.
    options = ["nosuid", "nodev", mode]
    return {"destination": path, "type": "tmpfs", "source": "tmpfs", "options": options}


def _cgroups(mounts: list[dict[str, Any]], cgroup: str, taken: set[str]) -> list[dict[str, Any]]:
    """Let it write in its own cgroup; returns what must be mounted for that beside the usual.

    Whose it is in a user namespace is seen to where that is made (``mgr/container/userns.py``).
    """
    own = next((one for one in mounts if one["destination"] == CGROUPS), None)
    if own is None or own["type"] != "cgroup":
        return []  # the user's
    if not cgroup:
        own["options"] = ["rw" if word == "ro" else word for word in own["options"]]
        return []
    path = f"{CGROUPS}/{HIERARCHY}"
    if path in taken:
        return []
    # Of the hierarchy only what is below the container's: no release agent is in reach.
    options = ["bind", "rprivate", "nosuid", "noexec", "nodev"]
    return [{"destination": path, "type": "bind", "source": cgroup, "options": options}]


def _set_variables(env: list[str], container_id: str) -> None:
    """How systemd knows that it is in a container, and which id the machine gets."""
    names = {item.partition("=")[0] for item in env}
    if "container" not in names:
        env.append("container=runengine")
    if "container_uuid" not in names:
        digits = container_id[:32]
        parts = digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]
        env.append(f"container_uuid={'-'.join(parts)}")
