"""The resolver's process: alone for its directory, free of whoever started it."""

from __future__ import annotations

import os
import resource
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from runengine.linux import locks, mount
from runengine.resolver import control
from runengine.resolver.log import Log
from runengine.resolver.loop import describe
from runengine.resolver.server import Server

if TYPE_CHECKING:
    import socket

NAME = "runengine-dns"
"""As ps shows it."""
LOCK_TIMEOUT_S = 5.0
"""For one that is just ending."""
OOM_SCORE = -500
"""As the service's: without names many containers fail, and there is little to gain here."""
DESCRIPTORS = 8192
CGROUP = "runengine/monitors"
"""Where the engine keeps its processes that outlive a command."""
SYSTEMD = "/run/systemd/system"
MOUNTINFO = "/proc/self/mountinfo"
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE,
            signal.SIGUSR1, signal.SIGUSR2)  # fmt: skip


def main(directory: str) -> None:
    """Take the directory, then serve it in a child of its own; return when it can be asked.

    Whoever waits for this process to end finds the socket there. SIGTERM ends the child as it
    ends any program: nothing is lost, and the next start of a container brings another one.
    """
    close_above(2)
    os.umask(0o077)
    try:
        with locks.locked(f"{directory}/{control.LOCK_NAME}", timeout_s=LOCK_TIMEOUT_S):
            door = control.listen(directory)
            if os.fork():
                os._exit(0)  # the lock is the open file's, which the child has as well
            serve(directory, door)
    except BaseException as error:
        Log(directory).write(f"the resolver ends: {describe(error)}")
        raise


def serve(directory: str, door: socket.socket) -> None:
    """Serve until there is nothing left to do."""
    try:
        detach()
        Server(directory, door).serve()
    finally:
        control.unlink(directory)


def close_above(last: int) -> None:
    """Close what a caller passed on by accident: its lock or pipe must not be held for days."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > last:
            with suppress(OSError):  # the listing's own
                os.close(fd)


def detach() -> None:
    """Become what no terminal, session, limit or directory of the caller's can touch."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    os.chdir("/")
    _write("/proc/self/comm", NAME)
    _write("/proc/self/oom_score_adj", str(OOM_SCORE))
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    with suppress(OSError):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    leave_session()


def leave_session(systemd: str = SYSTEMD, mountinfo: str = MOUNTINFO) -> None:
    """Move out of the caller's session or service, which systemd ends by control group.

    It looks at its own hierarchy only, so the others, and hosts without it, are left alone.
    """
    if not os.path.isdir(systemd):
        return
    with open(mountinfo, encoding="utf-8", errors="surrogateescape") as file:
        entries = list(mount.parse_mountinfo(file.read()))
    for entry in entries:
        named = "name=systemd" in entry.super_options.split(",")
        if entry.fstype == "cgroup2" or (entry.fstype == "cgroup" and named):
            _move_to(f"{entry.target}/{CGROUP}")


def _move_to(directory: str) -> None:
    with suppress(OSError):  # not ours to use: then we stay where we are
        os.makedirs(directory, exist_ok=True)
        _write(f"{directory}/cgroup.procs", str(os.getpid()))


def _write(path: str, text: str) -> None:
    with suppress(OSError), open(path, "w", encoding="utf-8") as file:
        file.write(text)


def leave_out_metadata() -> None:
    """Spare 3 MB: dnspython looks which optional packages there are, of which none is used here.

    It asks importlib.metadata, which loads readers of archives and mail, and takes any error
    for "not there".
    """
    kind = type(sys)
    sys.modules.setdefault("importlib.metadata", kind("importlib.metadata"))
