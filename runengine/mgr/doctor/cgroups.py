"""Control groups: which version, which controllers, what they limit."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runengine.cgroups import features, layout, slices
from runengine.mgr.doctor.host import NOTE, OK, PROBLEM, Finding, Hidden

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.doctor.host import Host

_WANTED = {
    1: ("blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids"),
    2: ("cpu", "cpuset", "io", "memory", "pids"),
}
_MEANING = {
    "devices": "no list of devices is enforced",
    "freezer": "no pause, and processes may escape their end",
    "memory": "no memory limits, no sign of a kill for want of memory",
    "pids": "a container can use up all processes",
}
# What a controller may lack although it is there.
_FINER = {
    "memory_swap": ("--memory-swap", "boot with swapaccount=1"),
    "blkio_weight": ("--blkio-weight", "echo bfq > /sys/block/DISK/queue/scheduler"),
    "cpu_quota": ("--cpus", "a kernel with CONFIG_CFS_BANDWIDTH"),
    "blkio_read_bps": ("--device-read-bps and others", "a kernel with CONFIG_BLK_DEV_THROTTLING"),
}


def _layout(host: Host) -> layout.Layout:
    text = host.text("/proc/self/mountinfo")
    if text is None:
        raise Hidden("cannot be seen: /proc is not mounted here")
    found = layout.read(host.path(layout.ROOT), text)
    if found.version == 2:
        return found
    return found._replace(mounts={name: host.path(at) for name, at in found.mounts.items()})


def version(host: Host) -> Iterator[Finding]:
    """v1, hybrid or v2."""
    found = _layout(host)
    covered = [at for at in found.mounts.values() if not os.path.isdir(at)]
    if covered:
        told = f"{covered[0]} is mounted and not there: no container starts"
        yield Finding("version", PROBLEM, told, "unmount what was mounted above it")
    elif not found.mounts:
        told = "none is mounted at /sys/fs/cgroup: no container starts"
        yield Finding("version", PROBLEM, told, "mount -t cgroup2 none /sys/fs/cgroup")
    elif found.version == 2:
        yield Finding("version", OK, "v2")
    else:
        kind = "v1 beside v2 (hybrid)" if layout.UNIFIED in found.mounts else "v1"
        remedy = "boot with systemd.unified_cgroup_hierarchy=1"
        yield Finding("version", NOTE, f"{kind}: some limits and figures are of v2 only", remedy)


def writable(host: Host) -> Iterator[Finding]:
    """In a container they often are not."""
    for directory in dict.fromkeys(_layout(host).mounts.values()):
        if os.path.isdir(directory) and os.statvfs(directory).f_flag & os.ST_RDONLY:
            told = f"{directory} is mounted read-only: no container starts"
            yield Finding("writable", PROBLEM, told, "mount -o remount,rw it, or use the host's")
            return


def controllers(host: Host) -> Iterator[Finding]:
    """Those that the engine uses."""
    found = _layout(host)
    if not found.mounts:
        return
    missing = [name for name in _WANTED[found.version] if name not in found.controllers]
    for name in missing:
        told = f"missing: {_MEANING.get(name, 'its limits are dropped with a warning')}"
        yield Finding(f"controller {name}", _severity(name), told, _remedy(name, found.version))
    there = [name for name in _WANTED[found.version] if name in found.controllers]
    yield Finding("controllers", OK, ", ".join(there) or "none")


def _severity(name: str) -> str:
    return PROBLEM if name in ("devices", "freezer") else NOTE


def _remedy(name: str, number: int) -> str:
    if number == 1:
        return f"boot with cgroup_enable={name}, and mount it: mount -t cgroup -o {name} ..."
    return f"boot with cgroup_enable={name}, or leave cgroup_disable out"


def limits(host: Host) -> Iterator[Finding]:
    """What a controller may lack although it is there."""
    found = _layout(host)
    if not found.mounts:
        return
    able = features.probe(found)
    for field, (flags, remedy) in _FINER.items():
        if not getattr(able, field):
            yield Finding("limits", NOTE, f"no {flags}: dropped with a warning", remedy)


def freezer(host: Host) -> Iterator[Finding]:
    """On v2 a file of every cgroup but the root."""
    found = _layout(host)
    if found.version == 2 and _below(found, "cgroup.freeze") is False:
        told = "no cgroup.freeze (5.2): no pause"
        yield Finding("freezer", NOTE, told, "boot a newer kernel")


def peak(host: Host) -> Iterator[Finding]:
    """Whether the most memory that was ever used is known."""
    found = _layout(host)
    if found.version == 2 and _below(found, "memory.peak") is False:
        told = "no memory.peak (5.19): exit records do not tell the most memory used"
        yield Finding("peak memory", NOTE, told, "boot a newer kernel")


def _below(found: layout.Layout, file: str) -> bool | None:
    """Whether cgroups below the root have a file; None where there is none to look at."""
    root = found.mounts[layout.UNIFIED]
    with os.scandir(root) as scan:
        below = [entry.path for entry in scan if entry.is_dir(follow_symlinks=False)]
    controller = file.partition(".")[0]
    if controller != "cgroup":
        below = [path for path in below if os.path.exists(f"{path}/{controller}.current")]
    return any(os.path.exists(f"{path}/{file}") for path in below) if below else None


def pressure(host: Host) -> Iterator[Finding]:
    """How long work waits for want of a resource."""
    if host.exists("/proc/pressure/cpu"):
        yield Finding("pressure (PSI)", OK, "there")
    else:
        told = "off: stats have no pressure"
        yield Finding("pressure (PSI)", NOTE, told, "boot with psi=1")


def driver(host: Host) -> Iterator[Finding]:
    """Who makes the cgroups."""
    name = host.settings.cgroup_driver
    if name == layout.SYSTEMD and not host.exists(slices.RUNNING):
        told = "systemd by the settings, and it does not run here: no container can be made"
        remedy = "set cgroup_driver to cgroupfs in the configuration file"
        yield Finding("driver", PROBLEM, told, remedy)
    else:
        yield Finding("driver", OK, name)


CHECKS = (version, writable, controllers, limits, freezer, peak, pressure, driver)
