"""``mounts`` and ``linux.rootfsPropagation`` (config.md#mounts, config-linux.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.errors import Unsupported
from runengine.oci_spec import idmaps, init, namespaces, security_opt
from runengine.oci_spec.mounts import MountPoint, depth

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.model import ContainerConfig, HostConfig
    from runengine.oci_spec.facts import SpecFacts

DEFAULT_SHM_BYTES = 64 << 20
_TTY = 5
_NO_NOTHING = ("nosuid", "noexec", "nodev")


def set_mounts(
    spec: dict[str, Any], _config: ContainerConfig, host: HostConfig, facts: SpecFacts
) -> None:
    """Docker's default mounts, network files, the init and the user's mounts, parents first."""
    user = {point.destination for point in facts.mounts}
    mounts = [
        mount
        for mount in default_mounts(host, facts)
        if mount["destination"] not in user
        # A /dev of the user's own comes as it is, with everything below.
        and not ("/dev" in user and mount["destination"].startswith("/dev/"))
    ]
    mounts += [
        bind_file(source, path, readonly=host["ReadonlyRootfs"])
        for path, source in facts.network_files.items()
        if path not in user
    ]
    if facts.init_path and init.is_used(facts, host) and init.PATH_IN_CONTAINER not in user:
        mounts.append(bind_file(facts.init_path, init.PATH_IN_CONTAINER, readonly=True))
    mounts += [mount_section(point, facts) for point in facts.mounts]
    spec["mounts"] = sorted(mounts, key=lambda mount: depth(mount["destination"]))
    propagation = root_propagation(facts.mounts)
    if propagation:
        spec["linux"]["rootfsPropagation"] = propagation


def default_mounts(host: HostConfig, facts: SpecFacts) -> list[dict[str, Any]]:
    """What every container has; /sys and the cgroups read-only unless privileged."""
    privileged = host["Privileged"]
    options = security_opt.parse(host["SecurityOpt"])
    sys_mode = "rw" if privileged and not host["ReadonlyRootfs"] else "ro"
    cgroup_mode = "rw" if privileged or options.writable_cgroups else "ro"
    mounts = [
        _mount("/proc", "proc", "proc", *_NO_NOTHING),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount("/sys", "sysfs", "sysfs", *_NO_NOTHING, sys_mode),
        _mount(
            "/dev/pts",
            "devpts",
            "devpts",
            "nosuid",
            "noexec",
            "newinstance",
            "ptmxmode=0666",
            "mode=0620",
            *_terminal_group(facts),
        ),
        _mount("/dev/mqueue", "mqueue", "mqueue", *_NO_NOTHING),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", *_NO_NOTHING, "relatime", cgroup_mode),
    ]
    return mounts + _shm(host, facts)


def _terminal_group(facts: SpecFacts) -> tuple[str, ...]:
    """Debian's tty, if the user namespace has it."""
    known = facts.userns is None or idmaps.outside(facts.userns.maps.gids, _TTY) is not None
    return (f"gid={_TTY}",) if known else ()


def _shm(host: HostConfig, facts: SpecFacts) -> list[dict[str, Any]]:
    if host["IpcMode"] == namespaces.NONE:
        return []
    if facts.shm_path:
        return [_mount("/dev/shm", "bind", facts.shm_path, "rbind", "rprivate")]  # noqa: S108
    size = host["ShmSize"] or DEFAULT_SHM_BYTES
    return [_mount("/dev/shm", "tmpfs", "shm", *_NO_NOTHING, "mode=1777", f"size={size}")]  # noqa: S108


def _mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {
        "destination": destination,
        "type": kind,
        "source": source,
        "options": list(options),
    }


def bind_file(source: str, destination: str, *, readonly: bool) -> dict[str, Any]:
    """One host file in the container."""
    options = ["rbind", "rprivate", *(["ro"] if readonly else [])]
    return _mount(destination, "bind", source, *options)


def mount_section(point: MountPoint, facts: SpecFacts) -> dict[str, Any]:
    """A user's mount as the runtime wants it."""
    if point.type == "tmpfs":
        options = [*point.options, *(["ro"] if point.readonly else [])]
        return _mount(point.destination, "tmpfs", "tmpfs", *options)
    options = ["rbind" if point.recursive else "bind", point.propagation, *point.options]
    if point.readonly:
        options.append("ro")
        if point.recursive and _recursive_readonly(point, facts):
            options.append("rro")
    return _mount(point.destination, "bind", point.source, *options)


def _recursive_readonly(point: MountPoint, facts: SpecFacts) -> bool:
    """Mounts below a read-only bind are writable unless the kernel is told otherwise."""
    able = facts.kernel.recursive_readonly and facts.runtime_recursive_readonly
    if point.recursive_readonly and not able:
        raise Unsupported(
            f"mount {point.destination}: bind-recursive=readonly needs kernel 5.12 and runc 1.1",
            resolution="use bind-recursive=writable or disabled",
        )
    return able and point.recursive_readonly is not False


def root_propagation(points: Iterable[MountPoint]) -> str:
    """What the root must be for the mounts' propagation to work; empty for the default."""
    words = {point.propagation for point in points if point.type == "bind"}
    if words & {"shared", "rshared"}:
        return "shared"
    if words & {"slave", "rslave"}:
        return "rslave"
    return ""
