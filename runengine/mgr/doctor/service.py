"""The service: whether it runs, and whether it is the program that is installed now."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

from runengine.linux import pidfd
from runengine.mgr.doctor.host import NOTE, OK, Finding, Hidden

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.doctor.host import Host

# The launcher's own (launcher/main.py, front.py), which is above us.
LOCK_NAME, SOCKET_NAME = "service.lock", "launcher.sock"
_START = "systemctl enable --now runengine.socket (scripts/install), or runengine serve"
_RESTART = "systemctl restart runengine.service: no container notices"


def running(host: Host) -> Iterator[Finding]:
    """Told by its lock, which is not taken to be looked at (proc_locks(5))."""
    locks = host.text("/proc/locks")
    if locks is None:
        raise Hidden("cannot be seen: no /proc/locks")
    state = host.path(host.paths.state)
    if os.path.isdir(state) and not os.access(state, os.X_OK):
        raise Hidden(f"cannot see into {host.paths.state} without root")
    pid = _holder(f"{state}/{LOCK_NAME}", locks)
    if pid is None:
        told = "not running: commands are slower, and nothing brings containers back at boot"
        yield Finding("service", NOTE, told, _START)
    elif _was_replaced_since(host, pid):
        told = f"pid {pid}, older than the program on disk: commands run without it"
        yield Finding("service", NOTE, told, _RESTART)
    elif not _is_socket(f"{state}/{SOCKET_NAME}"):
        told = f"pid {pid}, but its socket {host.paths.state}/{SOCKET_NAME} is gone"
        yield Finding("service", NOTE, told, _RESTART)
    else:
        yield Finding("service", OK, f"running (pid {pid}), the program on disk")


def _holder(path: str, locks: str) -> int | None:
    """Who holds the lock on a file; None if nobody does."""
    try:
        seen = os.stat(path)
    except FileNotFoundError:
        return None
    device = f"{os.major(seen.st_dev):02x}:{os.minor(seen.st_dev):02x}"
    for line in locks.splitlines():
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5] == f"{device}:{seen.st_ino}":
            return int(words[4])
    return None


def _was_replaced_since(host: Host, pid: int) -> bool:
    """Whether the first file of the program was written anew after the service began."""
    ticks = pidfd.start_time(pid)
    boot = next(
        (line.split()[1] for line in (host.text("/proc/stat") or "").splitlines()
         if line.startswith("btime ")),
        None,
    )  # fmt: skip
    if ticks is None or boot is None:
        return False
    began = int(boot) + ticks / os.sysconf("SC_CLK_TCK")
    program = f"{os.path.dirname(sys.modules['runengine'].__file__ or '')}/front.py"
    return os.stat(program).st_ctime > began + 1


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False


CHECKS = (running,)
