"""Limits of the host that many containers run into."""

from __future__ import annotations

import os
import resource
import time
from typing import TYPE_CHECKING

from runengine.mgr.doctor.host import NOTE, OK, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.doctor.host import Host

_FILES, _PIDS, _INSTANCES, _WATCHES = 65536, 32768, 256, 65536
_DAY_S = 86400


def open_files(_host: Host) -> Iterator[Finding]:
    """The hard limit is the most that a container can be given."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= _FILES:
        shown = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
        yield Finding("open files", OK, f"{shown} per process")
    else:
        told = f"{hard} per process, and containers get no more"
        yield Finding("open files", NOTE, told, f"ulimit -n {_FILES}, or LimitNOFILE= in the unit")


def processes(host: Host) -> Iterator[Finding]:
    """What all processes share."""
    numbers = [host.number(f"/proc/sys/kernel/{name}") for name in ("pid_max", "threads-max")]
    known = [number for number in numbers if number is not None]
    if not known:
        return
    if min(known) < _PIDS:
        told = f"{min(known)} on the whole host"
        yield Finding("processes", NOTE, told, "sysctl kernel.pid_max=4194304")
    else:
        yield Finding("processes", OK, f"{min(known)} on the whole host")


def inotify(host: Host) -> Iterator[Finding]:
    """Followers of logs and events need one each, and so do programs in containers."""
    for name, least in (("instances", _INSTANCES), ("watches", _WATCHES)):
        found = host.number(f"/proc/sys/fs/inotify/max_user_{name}")
        if found is None:
            continue
        if found >= least:
            yield Finding(f"inotify {name}", OK, f"{found} per user")
        else:
            told = f"{found} per user, shared by all containers of one user id"
            yield Finding(
                f"inotify {name}", NOTE, told, f"sysctl fs.inotify.max_user_{name}={least * 8}"
            )


def clock(host: Host) -> Iterator[Finding]:
    """A clock before the program itself was made refuses every certificate."""
    made = os.stat(__file__).st_mtime
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    uptime = (host.text("/proc/uptime") or "").partition(".")[0]
    since = f", up for {int(uptime) // 3600} h" if uptime.isdigit() else ""
    if time.time() < made - _DAY_S:
        told = f"{shown} is before this program was installed: registries are not trusted"
        yield Finding("clock", NOTE, told, "timedatectl set-ntp true")
    else:
        yield Finding("clock", OK, f"{shown}{since}")


CHECKS = (open_files, processes, inotify, clock)
