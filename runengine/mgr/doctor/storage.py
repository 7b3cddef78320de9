"""Where images and containers are kept: the filesystem, its room, what it can do."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from runengine.linux import mount
from runengine.mgr.doctor.host import NOTE, OK, PROBLEM, Finding, Hidden

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.doctor.host import Host

# What an overlay takes no writable layer on (the kernel's overlayfs.rst, "Upper layer").
_UNFIT = frozenset(
    ("overlay", "nfs", "nfs4", "cifs", "vfat", "exfat", "ntfs", "ntfs3", "squashfs", "iso9660",
     "fuse", "fuseblk", "9p", "ecryptfs")
)  # fmt: skip
_VOLATILE = frozenset(("tmpfs", "ramfs"))
_MOVE = "use another --root"
_ROOM_BYTES, _LEAST_BYTES = 1 << 30, 64 << 20
_LEAST_SHARE = 0.05


def _place(host: Host, path: str) -> str:
    """The directory, or the deepest above it that is there."""
    place = path
    while not os.path.isdir(host.path(place)) and place != "/":
        place = os.path.dirname(place)
    return place


def _mount(host: Host, path: str) -> mount.MountInfo:
    text = host.text("/proc/self/mountinfo")
    if text is None:
        raise Hidden("cannot be seen: /proc is not mounted here")
    above = [
        entry
        for entry in mount.parse_mountinfo(text)
        if entry.target == "/" or f"{path}/".startswith(f"{entry.target}/")
    ]
    if not above:
        raise Hidden(f"cannot be seen: no mount that {path} is on")
    # Of two at one place the later one hides the earlier.
    return max(reversed(above), key=lambda entry: len(entry.target))


def filesystem(host: Host) -> Iterator[Finding]:
    """What holds the root directory, and whether layers can be stacked on it."""
    root = host.paths.root
    found = _mount(host, _place(host, root))
    seen = f"{root} on {found.fstype}"
    if found.fstype.partition(".")[0] in _UNFIT:
        told = f"{seen}, on which no writable layer can be: no container starts"
        yield Finding("filesystem", PROBLEM, told, f"{_MOVE}, on ext4, xfs or btrfs")
    elif "ro" in found.options.split(","):
        told = f"{seen}, mounted read-only: nothing can be made"
        yield Finding("filesystem", PROBLEM, told, f"mount -o remount,rw {found.target}")
    elif found.fstype in _VOLATILE:
        told = f"{seen}: images and containers are gone after a reboot"
        yield Finding("filesystem", NOTE, told, f"{_MOVE}, on a disk")
    else:
        yield Finding("filesystem", OK, seen)


def entry_types(host: Host) -> Iterator[Finding]:
    """An overlay needs directories that tell what is in them."""
    place = _place(host, host.paths.root)
    if host.probes.d_type(host.path(place)):
        yield Finding("d_type", OK, "there")
    else:
        told = "directories do not tell the types of their entries: removed files show"
        yield Finding("d_type", PROBLEM, told, f"mkfs.xfs -n ftype=1, or {_MOVE}")


def quota(host: Host) -> Iterator[Finding]:
    """Whether the size of single directories can be limited."""
    found = _mount(host, _place(host, host.paths.root))
    options = {*found.options.split(","), *found.super_options.split(",")}
    if options & {"prjquota", "pquota"}:
        yield Finding("project quota", OK, "on")
    else:
        told = "off: --storage-opt, --disk-quota and volumes' size= are refused"
        remedy = f"mount {found.target} with prjquota (xfs; ext4 after tune2fs -O project,quota)"
        yield Finding("project quota", NOTE, told, remedy)


def room(host: Host) -> Iterator[Finding]:
    """Bytes and inodes."""
    place = _place(host, host.paths.root)
    free = os.statvfs(host.path(place))
    size = free.f_bavail * free.f_frsize
    seen = f"{size / (1 << 30):.1f} GiB free"
    remedy = "runengine image ls shows what there is, or use a larger disk"
    if size < _LEAST_BYTES:
        yield Finding("space", PROBLEM, f"{seen}: nothing can be written", remedy)
    elif size < _ROOM_BYTES:
        yield Finding("space", NOTE, f"{seen}: little for images", remedy)
    else:
        yield Finding("space", OK, seen)
    if free.f_files and free.f_favail < free.f_files * _LEAST_SHARE:
        told = f"{free.f_favail} of {free.f_files} free: few more files can be made"
        yield Finding("inodes", NOTE, told, remedy)
    elif free.f_files:
        yield Finding("inodes", OK, f"{free.f_favail} free")


def state(host: Host) -> Iterator[Finding]:
    """Where what dies with the boot is kept."""
    found = _mount(host, _place(host, host.paths.state))
    seen = f"{host.paths.state} on {found.fstype}"
    if "ro" in found.options.split(","):
        told = f"{seen}, mounted read-only: no container starts"
        yield Finding("state", PROBLEM, told, f"mount -o remount,rw {found.target}")
    else:
        yield Finding("state", OK, seen)
    barred = _barred(host, os.path.dirname(host.paths.state))
    if barred:
        told = f"{barred} can only be passed by its owner: --userns=auto fails at the start"
        yield Finding("way to the state", NOTE, told, f"chmod o+x {barred}, or another --state")


def _barred(host: Host, path: str) -> str:
    """The first directory on the way up that root in a user namespace cannot pass."""
    while path != "/":
        with suppress(OSError):
            if not os.stat(host.path(path)).st_mode & stat.S_IXOTH:
                return path
        path = os.path.dirname(path)
    return ""


CHECKS = (filesystem, entry_types, quota, room, state)
