"""What is tried from inside of a container, how it fails, and what it takes for it to succeed.

Every attempt is harmless if it gets through: files of the host's are opened to be written and
closed again, the time is not set, and what is mounted goes with the container.
"""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support import needs, probes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.command_line import CommandLine

pytestmark = [
    pytest.mark.root,
    needs("runc", "overlay", "busybox", "gcc"),
]

PRIVILEGED = ("--privileged",)
SYS_ADMIN = ("--cap-add", "SYS_ADMIN")
READ_ONLY = "Read-only file system"
NOT_PERMITTED = "not permitted"
MARK = "#### "


class Attempt(NamedTuple):
    """A script that ends with ``through`` where it succeeds."""

    name: str
    script: str
    refused: str
    """What it says instead in a default container."""
    lifted: tuple[str, ...] = PRIVILEGED
    """The flags with which it gets through."""
    base: tuple[str, ...] = ()
    """The flags with which it does not."""
    file: str = ""
    """Of the host; without it there is nothing to try."""


def opens(path: str) -> str:
    """Open a file to append to it, and write nothing."""
    return f"( : >>{path} ) && echo through"


HERE = os.getpid()
LOOP = "mknod /tmp/disk b 7 0 && head -c 512 /tmp/disk >/dev/null && echo through"
V1, PID = "/sys/fs/cgroup/devices", ("--pid", "host")
ATTEMPTS = [
    # Settings of the whole host.
    Attempt("core_pattern", opens("/proc/sys/kernel/core_pattern"), READ_ONLY),
    Attempt("drop_caches", opens("/proc/sys/vm/drop_caches"), READ_ONLY),
    Attempt("sysrq", opens("/proc/sysrq-trigger"), READ_ONLY, file="/proc/sysrq-trigger"),
    Attempt("modprobe", opens("/proc/sys/kernel/modprobe"), READ_ONLY,
            file="/proc/sys/kernel/modprobe"),
    Attempt("irq", opens("/proc/irq/default_smp_affinity"), READ_ONLY),
    Attempt("uevent_helper", opens("/sys/kernel/uevent_helper"), READ_ONLY,
            file="/sys/kernel/uevent_helper"),
    Attempt("sys", opens("/sys/kernel/profiling"), READ_ONLY, file="/sys/kernel/profiling"),
    Attempt("hostname", "hostname x && echo through", NOT_PERMITTED, SYS_ADMIN),
    Attempt("dmesg", "dmesg >/dev/null && echo through", NOT_PERMITTED, ("--cap-add", "SYSLOG")),
    # cgroups.
    Attempt("devices.allow", opens(f"{V1}/devices.allow"), READ_ONLY, file=V1),
    Attempt("notify_on_release", opens(f"{V1}/notify_on_release"), READ_ONLY,
            ("--security-opt", "writable-cgroups"), file=V1),
    Attempt("release_agent", "mkdir /tmp/c && mount -t cgroup -o devices c /tmp/c && "
            "test -e /tmp/c/tasks && echo through", "permission denied", SYS_ADMIN, file=V1),
    Attempt("cgroup.kill", opens("/sys/fs/cgroup/cgroup.procs"), READ_ONLY,
            ("--security-opt", "writable-cgroups"), file="/sys/fs/cgroup/cgroup.controllers"),
    # Mounts and namespaces.
    Attempt("mount", "mkdir /mnt && mount -t tmpfs x /mnt && echo through", "permission denied",
            SYS_ADMIN),
    Attempt("proc/sys made writable", "mount -o remount,bind,rw /proc/sys && echo through",
            "permission denied", SYS_ADMIN),
    Attempt("mask taken off", "umount /proc/timer_list && echo through", NOT_PERMITTED, SYS_ADMIN,
            file="/proc/timer_list"),
    Attempt("unshare user", "unshare -U true && echo through", NOT_PERMITTED, SYS_ADMIN),
    Attempt("unshare mount", "unshare -m true && echo through", NOT_PERMITTED, SYS_ADMIN),
    Attempt("mount in a user namespace", "unshare -Urm mount -t tmpfs x /var && echo through",
            NOT_PERMITTED),
    Attempt("join the host", f"nsenter -t {HERE} -m -n true && echo through", "ermission denied",
            (*PRIVILEGED, *PID), PID),
    # Devices, and files that are not below the root.
    Attempt("disk", LOOP, NOT_PERMITTED, file="/dev/loop0"),
    Attempt("kernel log", "mknod /tmp/k c 1 11 && : </tmp/k && echo through", NOT_PERMITTED),
    Attempt("file by handle", "/probe/handle /etc/hosts", NOT_PERMITTED),
    Attempt("what is masked", "head -c 1 /proc/timer_list | grep -q . && echo through", "",
            ("--security-opt", "unmask=/proc/timer_list"), file="/proc/timer_list"),
    Attempt("firmware", "ls /sys/firmware | grep -q . && echo through", "",
            ("--security-opt", "unmask=/sys/firmware"), file="/sys/firmware/memmap"),
    Attempt("a bind made writable", "mount -o remount,bind,rw /probe && echo through",
            "permission denied", SYS_ADMIN),
    # Privileges.
    Attempt("setuid", "cp /probe/euid /euid && chmod 4755 /euid && "
            "[ $(su -s /bin/sh nobody -c /euid) = 0 ] && echo through", "", (),
            ("--security-opt", "no-new-privileges")),
    Attempt("priority", "renice -n -5 -p $$ && echo through", "ermission denied",
            ("--cap-add", "SYS_NICE")),
    Attempt("a capability", "chroot / true && echo through", NOT_PERMITTED, (),
            ("--cap-drop", "SYS_CHROOT")),
    # Other processes, and what they have in memory.
    Attempt("signal", f"kill -0 {HERE} && echo through", "No such process", PID),
    Attempt("root of a process", f"ls /proc/{HERE}/root/ >/dev/null && echo through",
            "ermission denied", (*PRIVILEGED, *PID), PID),
    Attempt("environment of a process", f"grep -q . /proc/{HERE}/environ && echo through",
            "ermission denied", (*PRIVILEGED, *PID), PID),
    Attempt("memory of a process", f"( : </proc/{HERE}/mem ) && echo through",
            "ermission denied", (*PRIVILEGED, *PID), PID),
    Attempt("shared memory", "test -e /dev/shm/runengine-escape && echo through", "",
            ("--ipc", "host")),
    # The network.
    Attempt("interface", "ip link set lo mtu 1400 && echo through", NOT_PERMITTED,
            ("--cap-add", "NET_ADMIN")),
    Attempt("address", "ip address add 192.0.2.9/32 dev lo && echo through", NOT_PERMITTED,
            ("--cap-add", "NET_ADMIN")),
    Attempt("abstract socket", "grep @runengine-escape /proc/net/unix && echo through", "",
            ("--network", "host")),
    Attempt("raw socket", "ping -c 1 127.0.0.1 >/dev/null && echo through", "ermission denied",
            (), ("--cap-drop", "NET_RAW")),
]  # fmt: skip


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return probes.build(tmp_path_factory.mktemp("probes"))


@pytest.fixture(scope="module")
def of_the_host() -> Iterator[None]:
    """What the host has and containers must not see."""
    Path("/dev/shm/runengine-escape").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0runengine-escape")
        yield
    Path("/dev/shm/runengine-escape").unlink()


@pytest.fixture(scope="module")
def tried(
    shared_cli: CommandLine, programs: Path, of_the_host: None
) -> Callable[[tuple[str, ...]], dict[str, str]]:
    """What each attempt said in a container with these flags; all of them in one."""

    @cache
    def inside(flags: tuple[str, ...]) -> dict[str, str]:
        script = "".join(
            f"echo '{MARK}{attempt.name}'\n( {attempt.script} ) 2>&1\n"
            for attempt in ATTEMPTS
            if flags in (attempt.base, attempt.lifted)
        )
        probe = ("-v", f"{programs}:/probe:ro")
        done = shared_cli.call("run", "--rm", *flags, *probe, "busybox", "sh", "-c", script)
        parts = (part.partition("\n") for part in done.out.split(MARK)[1:])
        return {name: said for name, _, said in parts}

    return inside


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
def test_an_attempt_fails_and_can_succeed(attempt: Attempt, tried):
    if attempt.file and not os.path.exists(attempt.file):
        pytest.skip(f"this host has no {attempt.file}")
    said = tried(attempt.base)[attempt.name]
    assert "through" not in said
    assert attempt.refused in said
    assert "through" in tried(attempt.lifted)[attempt.name]


WRITABLE = """
for file in $(find "$@" -type f -perm -200 -not -path '/proc/[0-9]*' \
        -not -path '/proc/self/*' -not -path '/proc/thread-self/*' 2>/dev/null); do
    true >>$file && echo $file
done
true
"""


def test_no_file_of_the_kernel_opens_to_be_written(shared_cli: CommandLine):
    """All there are, not only those that somebody thought of; nothing is written to them."""

    def found(*words: str) -> set[str]:
        flags, paths = [w for w in words if w[0] == "-"], [w for w in words if w[0] == "/"]
        run = ("run", "--rm", *flags, "busybox", "sh", "-c", WRITABLE, "sh", *paths)
        done = shared_cli.call(*run)
        assert done.code == 0, done
        return set(done.out.split())

    # Watching for pressure takes writing what to watch for (the kernel's accounting/psi.rst).
    assert all(path.startswith("/proc/pressure/") for path in found("/proc", "/sys"))
    assert "/proc/sys/kernel/core_pattern" in found("--security-opt=unmask=ALL", "/proc/sys")
