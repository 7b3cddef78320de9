"""What ``build_spec`` has to know beside the two configurations."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runengine.linux.devices import DeviceEntry
    from runengine.linux.kernel import Kernel
    from runengine.oci_spec.cdi import Edits
    from runengine.oci_spec.idmaps import IdMaps
    from runengine.oci_spec.mounts import MountPoint
    from runengine.oci_spec.selinux import Labels
    from runengine.oci_spec.users import User

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass_transform(kw_only_default=True)
class _Facts:
    """What is given by name and may be set later; a dataclass to mypy.

    The library's own writes and compiles methods that nobody calls here, 2 ms of a cold start.
    """

    def __init__(self, **given: Any) -> None:
        vars(self).update(given)


class UserFacts(_Facts):
    """The user namespace that was made for a container."""

    path: str
    """What the runtime joins."""
    rootfs: str
    """Where it finds the root filesystem."""
    maps: IdMaps
    path_alone: bool = False
    """Whether the runtime reads the maps off the namespace (runc >= 1.2) or must be told."""


class SpecFacts(_Facts):
    """Everything that was looked up on the host or in the image, so that building is pure."""

    container_id: str
    """64 hex digits."""
    rootfs: str
    """Absolute host path of the merged root filesystem."""
    hostname: str
    """Name inside; with the host's UTS namespace it only reaches HOSTNAME."""
    args: list[str]
    """Entrypoint + command (``merge.command``), never empty."""
    env: list[str]
    """Image's and user's variables merged (``merge.merge_image``); build adds PATH and others."""
    cwd: str
    """Absolute working directory in the container; empty means ``/``."""
    user: User
    """Resolved by ``users.resolve_user`` against the rootfs."""
    kernel: Kernel
    """``linux.kernel.probe()``."""
    cgroups_path: str
    """``linux.cgroupsPath``: ``cgroups.layout.container_path(parent, id)``."""
    mounts: Sequence[MountPoint] = ()
    """``user_mounts.resolve_all(host)``, their sources made where create_source says so."""
    network_files: Mapping[str, str] = _NOTHING
    """Container path (/etc/hosts ...) to the host file bound there, unless a user mount is."""
    labels: Labels | None = None
    """SELinux labels, where there is SELinux."""
    userns: UserFacts | None = None
    """None in the host's user namespace."""
    namespaces: Mapping[str, str | None] = _NOTHING
    """Runtime-spec type (pid, network, ipc, uts, cgroup) to a namespace's path to join, None for
    a new one, ``host`` for the host's. A type not named here follows the HostConfig, and there
    ``container:X`` must have been resolved by the caller."""
    devices: Sequence[DeviceEntry] = ()
    """``--device``, stat'ed (``linux.devices.entries`` of each ``devices.parse_device``)."""
    host_devices: Sequence[DeviceEntry] = ()
    """``linux.devices.host_devices()`` for a privileged container, else empty."""
    edits: Sequence[Edits] = ()
    """What the devices of ``DeviceRequests`` are on this host, in order."""
    block_devices: Mapping[str, tuple[int, int]] = _NOTHING
    """Path to (major, minor) for each path of the Blkio lists (``linux.devices.block_number``)."""
    init_path: str | None = None
    """Host path of the init program for ``--init`` (``init.find_init``)."""
    shm_path: str | None = None
    """Host folder bound at /dev/shm: of a shareable IPC namespace, of the container joined, or
    /dev/shm with the host's; None for a tmpfs of the container's own."""
    seccomp: dict[str, Any] | None = None
    """``linux.seccomp`` to use as it is instead of what SecurityOpt says."""
    seccomp_flags: tuple[str, ...] = ()
    """Flags of a filter that runtime and kernel know (``runtime.abilities``)."""
    memory_policies: tuple[str, ...] = ()
    """Modes of ``linux.memoryPolicy`` that the runtime sets (``runtime.abilities``)."""
    exec_cpu_affinity: dict[str, str] | None = None
    """``process.execCPUAffinity``, where the runtime knows it."""
    image_architecture: str = ""
    """GOARCH of the image (386, amd64, arm ...): 32-bit images get their system call table."""
    apparmor_profile: str | None = None
    """Default profile's name where the caller has loaded it, else None."""
    default_pids_limit: int = 4096
    """``Config.default_pids_limit`` for a container that sets none; 0 and below: unlimited."""
    rlimits: Mapping[str, tuple[int, int]] = _NOTHING
    """Default rlimits (``nofile`` to soft, hard) below the user's."""
    systemd: str | None = None
    """For a container whose process 1 is systemd: the cgroup's directory in the v1 hierarchy of
    that name, empty on v2; None for all others."""
    runtime_recursive_readonly: bool = True
    """Whether the runtime knows ``rro`` (runc >= 1.1, crun >= 1.4)."""
