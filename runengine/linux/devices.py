"""Device nodes of the host."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class DeviceEntry(NamedTuple):
    """A device node to be made in a container (runtime-spec, config-linux.md#devices)."""

    path: str
    """Path in the container."""
    type: str
    """``c`` or ``b``."""
    major: int
    minor: int
    mode: int
    """Permission bits."""
    uid: int
    gid: int
    access: str = "rwm"
    """What the device cgroup allows: read, write, mknod."""


class NotADevice(ValueError):
    """The path exists but is neither a device node nor a folder of some."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is not a device node")


class NotBlockDevice(NotADevice):
    """The path exists but is no block device."""

    def __init__(self, path: str) -> None:
        ValueError.__init__(self, f"{path} is not a block device")


# Made by the runtime itself, or private to each container.
_OWN_NAMES = ("pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts")
_OWN = frozenset(f"/dev/{name}" for name in _OWN_NAMES)


def entry(path_on_host: str, path_in_container: str, access: str = "rwm") -> DeviceEntry:
    """The device behind ``path_on_host``, symbolic links followed.

    Raises OSError if there is none, NotADevice if it is something else.
    """
    return _entry(os.stat(path_on_host), path_on_host, path_in_container, access)


def _entry(info: os.stat_result, on_host: str, in_container: str, access: str) -> DeviceEntry:
    if stat.S_ISCHR(info.st_mode):
        kind = "c"
    elif stat.S_ISBLK(info.st_mode):
        kind = "b"
    else:
        raise NotADevice(on_host)
    return DeviceEntry(
        in_container,
        kind,
        os.major(info.st_rdev),
        os.minor(info.st_rdev),
        stat.S_IMODE(info.st_mode),
        info.st_uid,
        info.st_gid,
        access,
    )


def entries(path_on_host: str, path_in_container: str, access: str = "rwm") -> list[DeviceEntry]:
    """The device, or every device in the folder ``path_on_host`` and below, in name order.

    Raises OSError if the path is missing, NotADevice if there is no device.
    """
    real = os.path.realpath(path_on_host)
    if not os.path.isdir(real):
        return [entry(real, path_in_container, access)]
    found = sorted(_walk(real, path_in_container.rstrip("/"), access))
    if not found:
        raise NotADevice(path_on_host)
    return found


def _walk(host_dir: str, container_dir: str, access: str) -> Iterator[DeviceEntry]:
    """Devices below a folder, links not followed, and nothing over what is the container's own."""
    pending = [(host_dir, container_dir)]
    while pending:
        on_host, in_container = pending.pop()
        try:
            with os.scandir(on_host) as scan:
                children = [(child, f"{in_container}/{child.name}") for child in scan]
        except FileNotFoundError:
            continue  # the kernel removed it meanwhile
        for child, inside in children:
            if inside in _OWN:
                continue
            try:
                info = child.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(info.st_mode):
                pending.append((child.path, inside))
            elif stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
                yield _entry(info, child.path, inside, access)


def host_devices() -> list[DeviceEntry]:
    """Every device node below /dev but terminals of others: what ``--privileged`` gives."""
    return sorted(_walk("/dev", "/dev", "rwm"))


def is_null(path: str) -> bool:
    """Whether the null device is there, and not a link to it or to anything else."""
    try:
        info = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == os.makedev(1, 3)


def block_number(path: str) -> tuple[int, int]:
    """Major and minor of a block device, for rate limits and weights.

    Raises OSError if the path is missing, NotBlockDevice if it is something else.
    """
    info = os.stat(path)
    if not stat.S_ISBLK(info.st_mode):
        raise NotBlockDevice(path)
    return os.major(info.st_rdev), os.minor(info.st_rdev)
