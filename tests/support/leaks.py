"""What a root test left on the host: the difference of two snapshots.

On a host where another test run is going on, only what names this run's temporary directory, or
descends from this process, counts: everything else may be the other run's.
"""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from runengine.launcher.rest import WAITING
from runengine.linux import pidfd

GRACE_S = 60.0 if "RUNENGINE_GUEST" in os.environ else 3.0
"""What goes by itself may take so long; in the emulated guest everything takes longer."""
CGROUPS = "/sys/fs/cgroup"
LASTING_CGROUPS = ("/runengine", "/runengine/monitors")
"""Hold the cgroups of all containers of the host, whoever made them; they stay."""
DEFAULT_ROOTS = ("/run/runengine", "/var/lib/runengine")


class Process(NamedTuple):
    """A process that is not a zombie."""

    pid: int
    started: int
    parent: int
    command: str
    cgroup: str

    def __str__(self) -> str:
        return f"process {self.pid} (parent {self.parent}): {self.command}"


class Snapshot(NamedTuple):
    """The host as a test can change it."""

    things: frozenset[str]
    descriptors: dict[int, str]
    processes: dict[tuple[int, int], Process]


def take() -> Snapshot:
    """Look at the host now."""
    things = [*_mounts(), *_names("netns", "/run/netns"), *_names("link", "/sys/class/net")]
    things += [*_nftables(), *_cgroups(), *_files()]
    return Snapshot(frozenset(things), descriptors(), _processes())


def leaked(before: Snapshot, own: str, *, grace_s: float = GRACE_S) -> list[str]:
    """What is there now and was not before, once it had ``grace_s`` to go away.

    ``own`` is the run's temporary directory.
    """
    deadline = time.monotonic() + grace_s
    if _difference(before, take(), own):
        # Objects in a cycle keep descriptors until then. It takes longer than all the rest.
        gc.collect()
    while True:
        found = _difference(before, take(), own)
        if not found or time.monotonic() >= deadline:
            return found
        time.sleep(0.05)


def left_open(before: dict[int, str]) -> list[str]:
    """Descriptors of this process that are others than before, once threads had time to end."""
    deadline = time.monotonic() + GRACE_S
    while (found := _opened(before, descriptors())) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.05)
    return found


def _opened(before: dict[int, str], after: dict[int, str]) -> list[str]:
    return [
        f"descriptor {fd} -> {target}"
        for fd, target in after.items()
        if before.get(fd) != target
    ]


def _difference(before: Snapshot, after: Snapshot, own: str) -> list[str]:
    shared = other_test_runs()
    found = [
        thing
        for thing in sorted(after.things - before.things)
        if own in thing or not shared
    ]
    found += _opened(before.descriptors, after.descriptors)
    new = {
        process.pid: process
        for key, process in after.processes.items()
        if key not in before.processes and not _waits(process, before)
    }
    found += [str(entry) for entry in new.values() if _is_leak(entry, new, own, shared=shared)]
    return found


def _is_leak(process: Process, new: dict[int, Process], own: str, *, shared: bool) -> bool:
    if own in process.command or _environment_names_test(process.pid):
        return True
    top = _top(process, new)
    if top.parent == os.getpid() or own in _read(f"/proc/{process.pid}/mountinfo"):
        return True
    # What an older process of somebody else has begun is somebody else's; orphans may be ours.
    if shared or top.parent not in _ancestors():
        return False
    words = ("runengine", "runc")
    return process.cgroup != _own_cgroup() or any(word in process.command for word in words)


def _waits(process: Process, before: Snapshot) -> bool:
    """Whether it is a worker of an older service, and serves no call: the next one may get it."""
    older = (one for one in before.processes.values() if one.pid == process.parent)
    is_forked = any(one.command == process.command for one in older)
    return is_forked and _read(f"/proc/{process.pid}/comm").strip() == WAITING


def _top(process: Process, new: dict[int, Process]) -> Process:
    """The oldest of its ancestors that are new, too."""
    for _ in new:
        if process.parent not in new:
            break
        process = new[process.parent]
    return process


def _environment_names_test(pid: int) -> bool:
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]
    return bool(test) and f"PYTEST_CURRENT_TEST={test}" in _read(f"/proc/{pid}/environ")


def other_test_runs() -> bool:
    """Whether a pytest that is not an ancestor of this process runs on the host."""
    ancestors = _ancestors()
    return any(
        _is_pytest(name)
        for name in os.listdir("/proc")
        if name.isdigit() and int(name) not in ancestors
    )


def _ancestors() -> set[int]:
    """This process and those above it; orphans go to one of them."""
    found = {0}
    pid = os.getpid()
    while pid not in found:
        found.add(pid)
        pid = _parent(pid)
    return found


def _is_pytest(pid: str) -> bool:
    words = _read(f"/proc/{pid}/cmdline").split("\0")
    return any(word == "pytest" or word.endswith("/pytest") for word in words[:6])


def _mounts() -> list[str]:
    lines = _read("/proc/self/mountinfo").splitlines()
    # Without the two ids in front, which change when something else is mounted again.
    return ["mount " + line.split(" ", 2)[2] for line in lines]


def _names(kind: str, directory: str) -> list[str]:
    try:
        return [f"{kind} {name}" for name in os.listdir(directory)]
    except FileNotFoundError:
        return []


def _nftables() -> list[str]:
    if not shutil.which("nft") or os.geteuid() != 0:
        return []
    listing = subprocess.run(
        ["nft", "-s", "list", "ruleset"], capture_output=True, text=True, timeout=30, check=False
    )
    return [f"nft {line.strip()}" for line in listing.stdout.splitlines() if line.strip()]


def _cgroups() -> list[str]:
    return [f"cgroup {folder}" for folder, _, _ in os.walk(CGROUPS)
            if not folder.endswith(LASTING_CGROUPS)]  # fmt: skip


def _files() -> list[str]:
    found = []
    for root in DEFAULT_ROOTS:
        for folder, directories, files in os.walk(root):
            found += [f"file {folder}/{name}" for name in (*directories, *files)]
            if folder.count("/") - root.count("/") >= 2:
                directories.clear()
    return found


def descriptors() -> dict[int, str]:
    """What this process has open."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = str(Path(f"/proc/self/fd/{name}").readlink())
        except FileNotFoundError:
            continue
    return found


def _processes() -> dict[tuple[int, int], Process]:
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        started = pidfd.start_time(int(name))
        if started is None:
            continue
        command = _read(f"/proc/{name}/cmdline").replace("\0", " ").strip()
        process = Process(
            int(name), started, _parent(int(name)), command, _read(f"/proc/{name}/cgroup")
        )
        if command:  # Kernel threads have none.
            found[int(name), started] = process
    return found


def _own_cgroup() -> str:
    return _read("/proc/self/cgroup")


def _parent(pid: int) -> int:
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except (OSError, ValueError):
        return ""
