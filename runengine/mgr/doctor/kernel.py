"""What the kernel can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.linux import libc, syscalls
from runengine.mgr.doctor.host import NOTE, OK, PROBLEM, Finding, Hidden
from runengine.rootfs.overlay import ONE_BY_ONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.doctor.host import Host

OLDEST = (5, 11)
_NEWER = "boot a newer kernel"
_NEEDED_CALLS = {
    "openat2": libc.SYS_OPENAT2,
    "pidfd_open": syscalls.PIDFD_OPEN,
    "pidfd_send_signal": syscalls.PIDFD_SEND_SIGNAL,
    "clone3": syscalls.CLONE3,
    "close_range": syscalls.CLOSE_RANGE,
}
_MOUNT_CALLS = {
    "open_tree": libc.SYS_OPEN_TREE,
    "fsopen": libc.SYS_FSOPEN,
    "mount_setattr": libc.SYS_MOUNT_SETATTR,
}
_NEEDED_NAMESPACES = ("ipc", "mount", "network", "pid", "uts")
_MAPPED_OVERLAY = (5, 19)
"""Since when an overlay's layers may be mounts that map ids."""


def version(host: Host) -> Iterator[Finding]:
    """The release, against the oldest that the engine is made for."""
    here = host.kernel()
    seen = f"{here.release} ({here.machine})"
    if here.version < OLDEST:
        told = f"{seen}: older than {OLDEST[0]}.{OLDEST[1]}, which containers' files need"
        yield Finding("version", PROBLEM, told, _NEWER)
    else:
        yield Finding("version", OK, seen)


def system_calls(host: Host) -> Iterator[Finding]:
    """Asked for one by one: a filter or an odd kernel may lack what its version has."""
    missing = [n for n, number in _NEEDED_CALLS.items() if not host.probes.system_call(number)]
    if missing:
        told = f"no {', '.join(missing)}: containers cannot be confined to their files"
        yield Finding("system calls", PROBLEM, told, _NEWER)
    else:
        yield Finding("system calls", OK, ", ".join(_NEEDED_CALLS))
    missing = [n for n, number in _MOUNT_CALLS.items() if not host.probes.system_call(number)]
    if missing:
        told = f"no {', '.join(missing)}: read-only binds stay writable in mounts below them"
        yield Finding("mount calls", NOTE, told, _NEWER)
    else:
        yield Finding("mount calls", OK, ", ".join(_MOUNT_CALLS))


def overlay(host: Host) -> Iterator[Finding]:
    """The filesystem that stacks layers, and whether it takes them one at a time."""
    listed = host.text("/proc/filesystems")
    if listed is None:
        raise Hidden("cannot be seen: no /proc/filesystems")
    if "overlay" not in listed.split() and not host.module("overlay"):
        told = "not in this kernel: no container has a root filesystem"
        yield Finding("overlay", PROBLEM, told, "modprobe overlay, or a kernel that has it")
    elif host.kernel().version >= ONE_BY_ONE:
        yield Finding("overlay", OK, "there, takes layers one by one (lowerdir+)")
    else:
        told = "there; before 6.7 long lists of layers are mounted by short names"
        yield Finding("overlay", OK, told)


def namespaces(host: Host) -> Iterator[Finding]:
    """Which kinds there are."""
    there = host.kernel().namespaces
    missing = [kind for kind in _NEEDED_NAMESPACES if kind not in there]
    if missing:
        told = f"none of {', '.join(missing)}: containers are not apart from the host"
        yield Finding("namespaces", PROBLEM, told, "a kernel with CONFIG_NAMESPACES")
    elif "cgroup" not in there:
        told = "no cgroup namespace: containers see where their cgroup is"
        yield Finding("namespaces", NOTE, told, _NEWER)
    else:
        yield Finding("namespaces", OK, ", ".join(sorted(there)))


def user_namespaces(host: Host) -> Iterator[Finding]:
    """Whether there can be any, and whether layers can be shared into them."""
    limit = host.number("/proc/sys/user/max_user_namespaces")
    if "user" not in host.kernel().namespaces or limit is None:
        told = "not in this kernel: unshare --user fails, also in containers that may"
        yield Finding("user namespaces", NOTE, told, "a kernel with CONFIG_USER_NS")
    elif limit == 0:
        told = "switched off: unshare --user fails, also in containers that may"
        yield Finding("user namespaces", NOTE, told, "sysctl user.max_user_namespaces=10000")
    else:
        yield Finding("user namespaces", OK, f"up to {limit}")


def idmapped_mounts(host: Host) -> Iterator[Finding]:
    """Layers seen with other ids need them, of the kernel and of the runtime."""
    calls = host.probes.system_call(libc.SYS_MOUNT_SETATTR)
    if calls and host.kernel().version >= _MAPPED_OVERLAY:
        yield Finding("idmapped mounts", OK, "of overlay's layers too: --userns=auto works")
    else:
        told = "not for overlay (5.19): --userns=auto and --uidmap are refused at the start"
        yield Finding("idmapped mounts", NOTE, told, _NEWER)


def boot(host: Host) -> Iterator[Finding]:
    """What tells the processes of this boot from those of another."""
    if (host.text("/proc/sys/kernel/random/boot_id") or "").strip():
        yield Finding("boot id", OK, "there")
    else:
        told = "not to be read: what ran before a reboot is taken for what runs"
        yield Finding("boot id", PROBLEM, told, "mount /proc")


CHECKS = (version, system_calls, overlay, namespaces, user_namespaces, idmapped_mounts, boot)
