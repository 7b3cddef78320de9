"""What the container's control group counted, and killing what is left in it.

By plain file names of cgroup v1 and v2 (kernel documentation, cgroup-v1/memory.rst, cpuacct.rst,
cgroup-v2.rst): the monitor gets the directories in its job and needs to know nothing else.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

MONITORS = "monitors"
"""Cgroup of every monitor, beside its containers'."""
HOME = "runengine"
"""Where that is if the containers are systemd's: out of its slices, which are stopped as one."""
_SLICE = ".slice"

_FROZEN = (b"FROZEN", b"FREEZING")


READ_SIZE = 64 << 10
NO_SUBDIRECTORIES = 2
"""Links of a directory without directories in it; file systems that do not count have one."""


class Account:
    """Counters at the end; None where this kernel does not keep them."""

    __slots__ = ("cpu_ns", "memory_peak_bytes", "oom_kills")

    def __init__(self, directories: dict[str, str]) -> None:
        unified = directories.get("unified")
        if unified and os.path.exists(f"{unified}/cgroup.controllers"):
            usage_us = _field(f"{unified}/cpu.stat", b"usage_usec")
            self.cpu_ns = None if usage_us is None else usage_us * 1000
            self.memory_peak_bytes = _number(f"{unified}/memory.peak")
            self.oom_kills = _field(f"{unified}/memory.events", b"oom_kill")
            if "memory" not in directories:
                return
        memory = directories.get("memory", "")
        self.cpu_ns = _number(f"{directories.get('cpuacct', '')}/cpuacct.usage")
        self.memory_peak_bytes = _number(f"{memory}/memory.max_usage_in_bytes")
        self.oom_kills = _field(f"{memory}/memory.oom_control", b"oom_kill")


def _content(path: str) -> bytes:
    # By descriptor: a file object asks the kernel four further questions each time.
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        text = os.read(fd, READ_SIZE)
        while len(text) % READ_SIZE == 0 and (more := os.read(fd, READ_SIZE)):
            text += more
        return text
    except OSError:
        return b""
    finally:
        os.close(fd)


def _number(path: str) -> int | None:
    text = _content(path).strip()
    return int(text) if text.isdigit() else None


def _field(path: str, name: bytes) -> int | None:
    return field(_content(path), name)


def field(text: bytes, name: bytes) -> int | None:
    """A number from lines of names and numbers."""
    for line in text.splitlines():
        key, _, value = line.partition(b" ")
        if key == name and value.isdigit():
            return int(value)
    return None


def is_empty(directories: dict[str, str]) -> bool:
    """Whether no process is left, by the one hierarchy that says it for all.

    Only root could have moved a process out of this one alone; ``remove`` fails then.
    """
    for name in ("pids", "freezer", "unified"):
        if name in directories:
            return not _members_below(directories[name])
    return not members(directories)


def members(directories: dict[str, str]) -> list[int]:
    """Pids in the cgroup and below it."""
    for directory in _folders(directories):
        pids = _members_below(directory)
        if pids:
            return pids
    return []


def _folders(directories: dict[str, str]) -> list[str]:
    return list(dict.fromkeys(directories.values()))


def _members_below(directory: str) -> list[int]:
    pids = [int(pid) for pid in _content(f"{directory}/cgroup.procs").split()]
    try:
        if os.stat(directory).st_nlink == NO_SUBDIRECTORIES:
            return pids
        with os.scandir(directory) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return pids
    for child in below:
        pids += _members_below(child)
    return pids


def kill(directories: dict[str, str]) -> bool:
    """SIGKILL every member, frozen ones too; whether there were any. Never ourselves."""
    pids = [pid for pid in members(directories) if pid != os.getpid()]
    for pid in pids:
        _kill_member(pid, directories)
    if pids:
        thaw(directories)
    return bool(pids)


def _kill_member(pid: int, directories: dict[str, str]) -> None:
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        # The descriptor fixes the process; that it still is a member makes it ours to kill.
        if pid in members(directories):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    except OSError:
        return
    finally:
        os.close(fd)


def is_frozen(directories: dict[str, str]) -> bool:
    """Whether the container is paused, or about to be."""
    if "freezer" in directories:
        return _content(f"{directories['freezer']}/freezer.state").strip() in _FROZEN
    return _content(f"{directories.get('unified', '')}/cgroup.freeze").strip() == b"1"


def thaw(directories: dict[str, str]) -> None:
    """Let go on what is frozen, also in cgroups that the container has made itself."""
    for controller, name, value in (
        ("freezer", "freezer.state", "THAWED"),
        ("unified", "cgroup.freeze", "0"),
    ):
        if controller in directories:
            for folder, _, files in os.walk(directories[controller]):
                if name in files:
                    _write(f"{folder}/{name}", value)


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError:
        return  # it has just been removed


def remove(directories: dict[str, str]) -> bool:
    """Remove the directories; False if one is in use. The engine looks again later."""
    gone = [_remove_below(directory) for directory in _folders(directories)]
    return all(gone)


def _remove_below(directory: str) -> bool:
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError:
        return _remove_tree(directory)
    return True


def _remove_tree(directory: str) -> bool:
    try:
        with os.scandir(directory) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        for child in below:
            _remove_below(child)
        os.rmdir(directory)
    except OSError:
        return False
    return True


def leave_session(directories: dict[str, str], systemd: str = "/run/systemd/system") -> None:
    """Move ourselves beside the container's cgroup, out of the caller's session or service.

    systemd kills by cgroup when a session or service ends. It looks at its own hierarchy only, so
    the others, and hosts without it, are left alone.
    """
    if not os.path.isdir(systemd):
        return
    for name in ("systemd", "unified"):
        if name in directories:
            _move_to(_monitors(directories[name]))


def _monitors(directory: str) -> str:
    parent = os.path.dirname(directory)
    if not parent.endswith(_SLICE):
        return f"{parent}/{MONITORS}"
    while parent.endswith(_SLICE):
        parent = os.path.dirname(parent)
    return f"{parent}/{HOME}/{MONITORS}"


def _move_to(directory: str) -> None:
    try:
        os.makedirs(directory, exist_ok=True)
        with open(f"{directory}/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))
    except OSError:
        return  # no such hierarchy, or not ours to use: then we stay where we are
