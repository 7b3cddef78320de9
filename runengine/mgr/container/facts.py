"""Look up, on the host and in the root filesystem, all that building the spec needs."""

from __future__ import annotations

import contextlib
import os
import resource
from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter, Unavailable
from runengine.linux import kernel, mount
from runengine.mgr.container import observe
from runengine.mgr.network.modes import NETNS
from runengine.oci_spec.facts import SpecFacts

if TYPE_CHECKING:
    from runengine.linux.devices import DeviceEntry
    from runengine.mgr.container.context import Context
    from runengine.mgr.network.sandbox import Sandbox
    from runengine.model import HostConfig
    from runengine.oci_spec.cdi import Edits
    from runengine.oci_spec.mounts import MountPoint
    from runengine.oci_spec.users import User
    from runengine.store.containers import Record

NOFILE = (1024, 524288)  # systemd's own default: enough, and cheap for programs that walk it
_PASSWD_LIMIT = 1 << 20


def gather(
    context: Context,
    record: Record,
    rootfs: str,
    files_dir: str,
    *,
    sandbox: Sandbox | None = None,
) -> SpecFacts:
    """The facts for one start. ``rootfs`` is mounted; network files go into ``files_dir``.

    ``sandbox`` is the network namespace that was made for it, if it is on a network.

    Raises InvalidParameter (no such user, not a device ...), Conflict (a container to be joined
    does not run), Unavailable.
    """
    from runengine.mgr.container import network_files
    from runengine.mgr.container.runtime import abilities_of
    from runengine.oci_spec import merge

    host, config = record.host_config, record.config
    here, able = kernel.probe(), abilities_of(context, record)
    hostname = _hostname(context, record)
    user = find_user(rootfs, config["User"], host["GroupAdd"])
    return SpecFacts(
        container_id=record.id,
        rootfs=rootfs,
        hostname=hostname,
        args=merge.command(config),
        env=[*_link_variables(context, record), *config["Env"]],
        cwd=working_directory(rootfs, config["WorkingDir"] or "/"),
        user=user,
        kernel=here,
        cgroups_path=record.details["cgroups_path"],
        mounts=_mounts(context, record, rootfs),
        network_files=network_files.write(
            context,
            record,
            hostname,
            files_dir,
            join=_joined(host["NetworkMode"]),
            endpoints=sandbox.endpoints if sandbox else (),
        ),
        namespaces=join_namespaces(context, record, sandbox),
        devices=_devices(host),
        host_devices=_host_devices(host),
        edits=[*_edits(context, host, user, rootfs), *_hooks(context, record)],
        block_devices=_block_devices(host),
        init_path=_init_path(host),
        shm_path=_shm_path(context, record),
        default_pids_limit=context.config.default_pids_limit,
        rlimits={} if host.get("Profile") else {"nofile": _nofile()},
        image_architecture=record.details.get("architecture", ""),
        apparmor_profile=_apparmor_profile(context, here, host),
        seccomp_flags=able.seccomp_flags,
        memory_policies=able.memory_policies,
        exec_cpu_affinity=_exec_cpu_affinity(context, host),
        runtime_recursive_readonly=able.recursive_readonly,
        systemd=_systemd_cgroup(record),
    )


def _mounts(context: Context, record: Record, rootfs: str) -> list[MountPoint]:
    """The container's mounts, their sources there, none of them where none may be."""
    from runengine.mgr.container import volumes
    from runengine.oci_spec import propagation

    points = volumes.points_of(record)
    check_destinations(rootfs, points)
    for point in points:
        ensure_source(point)
    points = volumes.bring(context, record, points, rootfs)
    check_devices_of(points)
    if propagation.needs_table(points):
        propagation.check_propagation(points, mount.mounts())
    return points


def _hostname(context: Context, record: Record) -> str:
    """Its own name; in another's network the other's, which the hosts file that they share has."""
    host = record.host_config
    if "host" in (host["UTSMode"], host["NetworkMode"]) and not record.config["Hostname"]:
        return os.uname().nodename
    other = _joined(record.host_config["NetworkMode"])
    if other is not None and not record.config["Hostname"]:
        record = context.store.containers.get(context.resolve(other))
    name: str = record.details["hostname"]
    return name


def _link_variables(context: Context, record: Record) -> list[str]:
    if not record.host_config.get("Links"):
        return []
    from runengine.mgr.network import links

    return links.environment(context, record)


def find_user(root: str, user: str, groups: list[str]) -> User:
    """Resolve a user against the files in ``root`` (a directory that is not left)."""
    from runengine.oci_spec.users import resolve_user
    from runengine.rootfs import inside

    root_fd = inside.open_root(root)
    try:
        passwd = inside.read_text(root_fd, "/etc/passwd", limit=_PASSWD_LIMIT)
        group = inside.read_text(root_fd, "/etc/group", limit=_PASSWD_LIMIT)
    finally:
        os.close(root_fd)
    return resolve_user(user, passwd, group, groups)


def working_directory(root: str, path: str) -> str:
    """``path``; raises InvalidParameter if the image's links lead it to a process's descriptors.

    Nothing else is looked at: what is missing is made by the runtime, and a file in its way named.
    """
    from runengine.oci_spec import workdir

    if path != "/":
        workdir.check_target(_traced(root, [path])[0], path)
    return path


def check_destinations(root: str, points: list[MountPoint]) -> None:
    """Raise InvalidParameter if the image's links lead a mount to where none may be."""
    from runengine.oci_spec import destinations

    if points:
        traced = _traced(root, [point.destination for point in points])
        for point, real in zip(points, traced, strict=True):
            destinations.check(point, real)


def check_devices_of(points: list[MountPoint]) -> None:
    """Raise InvalidParameter for a /dev of the user's own whose null is not the null device.

    Runtimes hide what is masked behind the container's /dev/null. Were that a link, to a file of
    /proc, they would show and open that instead (CVE-2025-31133; runc from 1.2.8 looks itself).
    """
    from runengine.linux import devices
    from runengine.oci_spec import destinations

    for point in points:
        if point.destination == destinations.DEV and point.source:
            path = f"{point.source}/null"
            if not devices.is_null(path):
                raise InvalidParameter(
                    f"mount on /dev is refused: {path} is not the null device",
                    resolution="mount the host's /dev, or leave it out and use --device",
                )


def _traced(root: str, paths: list[str]) -> list[str]:
    """Where they lead inside ``root``; as they are where something else is in the way."""
    from runengine.rootfs import inside
    from runengine.rootfs.tree import Tree

    found = []
    root_fd = inside.open_root(root)
    try:
        for path in paths:
            try:
                found.append("/" + Tree(root_fd).trace(path))
            except OSError:
                found.append(path)
    finally:
        os.close(root_fd)
    return found


def ensure_source(point: MountPoint) -> None:
    """The host side of a bind exists, or is made where the short syntax says so."""
    if point.type != "bind" or os.path.lexists(point.source):
        return
    if not point.create_source:
        raise InvalidParameter(
            f"invalid mount config: bind source path does not exist: {point.source}",
            resolution="make it first, or use -v, which makes a directory",
        )
    try:
        os.makedirs(point.source, mode=0o755, exist_ok=True)
    except OSError as error:
        raise InvalidParameter(
            f"cannot make bind source {point.source}: {error.strerror}"
        ) from None


def _joined(mode: str) -> str | None:
    kind, _, name = mode.partition(":")
    return name if kind == "container" else None


_NAMESPACES = (
    ("network", "NetworkMode", "net"),
    ("ipc", "IpcMode", "ipc"),
    ("pid", "PidMode", "pid"),
    ("uts", "UTSMode", "uts"),
)


def join_namespaces(
    context: Context, record: Record, sandbox: Sandbox | None = None
) -> dict[str, str | None]:
    """Paths of the namespaces that this one joins: other containers', and what was prepared."""
    joined: dict[str, str | None] = {}
    kind, _, path = record.host_config["NetworkMode"].partition(":")
    if kind == NETNS:
        joined["network"] = _prepared(path)
    for kind, field, file in _NAMESPACES:
        name = _joined(str(record.host_config[field]))  # type: ignore[literal-required]
        if name is not None:
            pid = observe.live_state(context, record, name, kind)["Pid"]
            joined[kind] = f"/proc/{pid}/ns/{file}"
    if sandbox is not None:
        joined["network"] = name_network(context, record.id, sandbox.path)
    return joined


def name_network(context: Context, container_id: str, path: str) -> str:
    """Give the network namespace at ``path`` a name of the container's own, and return that.

    The runtime keeps it for as long as the container runs, and looks there again when this is
    checkpointed: the process that now holds the namespace has ended by then.
    """
    link = f"{context.state_dir(container_id)}/netns"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(link)  # of the run before
    os.symlink(path, link)
    return link


def _prepared(path: str) -> str:
    """A network namespace that somebody pinned (ip-netns(8)). Raises InvalidParameter."""
    from runengine.linux import nsfs

    if not nsfs.is_network(path):
        raise InvalidParameter(
            f"--network netns:{path}: there is no network namespace",
            resolution="ip netns add NAME makes one at /run/netns/NAME",
        )
    return path


def _devices(host: HostConfig) -> list[DeviceEntry]:
    from runengine.linux import devices

    found = []
    for mapping in host["Devices"]:
        path = mapping["PathOnHost"]
        try:
            found += devices.entries(
                path, mapping["PathInContainer"] or path, mapping["CgroupPermissions"] or "rwm"
            )
        except (OSError, ValueError) as error:
            raise InvalidParameter(
                f'error gathering device information while adding custom device "{path}": '
                f"{error.args[-1]}",
                resolution="--device takes a device node, or a folder that has some",
            ) from None
    return found


def _host_devices(host: HostConfig) -> list[DeviceEntry]:
    from runengine.linux import devices

    return devices.host_devices() if host["Privileged"] else []


def _edits(context: Context, host: HostConfig, user: User, rootfs: str) -> list[Edits]:
    requests = host.get("DeviceRequests")
    if not requests:
        return []
    from runengine.mgr.container import device_requests
    from runengine.oci_spec.mounts import MountPoint

    found = device_requests.resolve(requests, context.config.cdi_spec_dirs, user)
    check_destinations(
        rootfs,
        [
            MountPoint(mount["type"], mount["source"], mount["destination"])
            for edits in found
            for mount in edits.mounts
        ],
    )
    return found


def _hooks(context: Context, record: Record) -> list[Edits]:
    """The operator's, after the devices': they see the container as it will be."""
    directories = context.config.hooks_dirs
    if not directories:
        return []
    from runengine.mgr.container import hooks
    from runengine.oci_spec.cdi import Edits

    return [Edits(hooks=hooks.hooks_of(record, directories))]


def _block_devices(host: HostConfig) -> dict[str, tuple[int, int]]:
    from runengine.linux import devices

    paths = [entry["Path"] for entry in host["BlkioWeightDevice"]]
    for entries in (
        host["BlkioDeviceReadBps"],
        host["BlkioDeviceWriteBps"],
        host["BlkioDeviceReadIOps"],
        host["BlkioDeviceWriteIOps"],
    ):
        paths += [entry["Path"] for entry in entries]
    numbers = {}
    for path in paths:
        try:
            numbers[path] = devices.block_number(path)
        except (OSError, ValueError) as error:
            raise InvalidParameter(f"block device {path}: {error.args[-1]}") from None
    return numbers


def _exec_cpu_affinity(context: Context, host: HostConfig) -> dict[str, str] | None:
    if not host.get("ExecCPUAffinity"):
        return None
    from runengine.mgr.container import affinity

    return affinity.decide_for(context, host["ExecCPUAffinity"], host["Runtime"]).section


def _init_path(host: HostConfig) -> str | None:
    if not host["Init"]:
        return None
    from runengine.oci_spec.init import find_init

    return find_init()


def _systemd_cgroup(record: Record) -> str | None:
    if not record.details.get("systemd"):
        return None
    path: str = record.details["cgroup"].get("systemd", "")
    return path


def shm_dir(context: Context, container_id: str) -> str:
    """Where the shared memory of a shareable IPC namespace is mounted."""
    return f"{context.state_dir(container_id)}/shm"


def _shm_path(context: Context, record: Record) -> str | None:
    mode = record.host_config["IpcMode"]
    if mode == "host":
        return "/dev/shm"  # noqa: S108 - the host's shared memory is what was asked for
    if mode == "shareable":
        return shm_dir(context, record.id)
    other = _joined(mode)
    return None if other is None else shm_dir(context, context.resolve(other))


def _nofile() -> tuple[int, int]:
    """The default within what this process may give: raising its own takes CAP_SYS_RESOURCE."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = NOFILE[1] if hard == resource.RLIM_INFINITY else min(NOFILE[1], hard)
    return min(NOFILE[0], limit), limit


def _apparmor_profile(context: Context, here: kernel.Kernel, host: HostConfig) -> str | None:
    """Load the default profile where it will be used; one of the user's choice must be there."""
    from runengine.oci_spec import security_opt

    chosen = security_opt.apparmor_of(host, "")
    if not here.apparmor or chosen == security_opt.UNCONFINED:
        return None
    from runengine.linux import apparmor
    from runengine.oci_spec import apparmor as text

    if chosen not in ("", text.PROFILE_NAME):
        if apparmor.is_known_to_lack(chosen):
            raise InvalidParameter(
                f"the kernel has no AppArmor profile {chosen}",
                resolution="load it with apparmor_parser --replace FILE; aa-status lists all",
            )
        return None
    profile, note = text.profile(tunables=apparmor.has_tunables()), text.PROFILE_NAME
    try:
        apparmor.ensure(text.PROFILE_NAME, profile, f"{context.paths.state}/{note}")
        return text.PROFILE_NAME
    except OSError as error:
        raise Unavailable(
            f"cannot load the default AppArmor profile: {error}",
            resolution="apt-get install apparmor, or --security-opt apparmor=unconfined",
        ) from None
