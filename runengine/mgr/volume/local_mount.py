"""What the local driver mounts, by mount(8), which knows filesystems' helpers and loop devices."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter, TimedOut, Unavailable
from runengine.linux import libc
from runengine.linux.mount import MS_PRIVATE, UMOUNT_NOFOLLOW, is_mounted

if TYPE_CHECKING:
    from runengine.mgr.volume.local_options import Settings

MOUNT_TIMEOUT_S = 60.0
"""A server that does not answer must not keep a container's start for ever."""
_PROPAGATION = frozenset(
    f"{r}{kind}" for kind in ("private", "shared", "slave", "unbindable") for r in ("", "r")
)


def mount(name: str, settings: Settings, target: str) -> None:
    """Mount unless something is mounted. Raises InvalidParameter, Unavailable, TimedOut."""
    if is_mounted(target):
        return
    _check_device(name, settings)
    _run(command(settings, target), f"volume {name}: cannot mount {settings.device}")
    if not _PROPAGATION & set(settings.words):
        libc.mount("none", target, None, MS_PRIVATE, None)


def _check_device(name: str, settings: Settings) -> None:
    """What mount(8) would say of a missing file depends on the filesystem, and is not clear."""
    device = settings.device
    if not device.startswith("/") or settings.fstype in ("9p", "virtiofs"):
        return
    if not os.path.exists(device):
        raise InvalidParameter(
            f"volume {name}: device {device} does not exist",
            resolution="make it, or remove the volume and create it with another -o device=",
        )
    if settings.is_bind and not os.path.isdir(device):
        raise InvalidParameter(f"volume {name}: device {device} is not a directory")


def command(settings: Settings, target: str) -> list[str]:
    """The command line of mount(8)."""
    argv = ["mount"]
    words = list(settings.words)
    if settings.fstype:
        argv += ["-t", settings.fstype]
    if settings.fstype.startswith("nfs") and settings.device.startswith(":"):
        # As Docker takes it: the server is in addr=, and the kernel does without a helper.
        argv.append("-i")
        words = [_with_address(word) for word in words]
    if words:
        argv += ["-o", ",".join(words)]
    return [*argv, "--source", settings.device, "--target", target]


def _with_address(word: str) -> str:
    """``addr=`` with a name replaced by its address: the kernel asks nobody for names."""
    import socket

    key, _, host = word.partition("=")
    if key != "addr":
        return word
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unavailable(f"cannot find the address of NFS server {host}: {error}") from None
    return f"addr={found[0][4][0]}"


def _run(argv: list[str], what: str) -> None:
    """Run mount(8); one that hangs in the kernel is left to itself."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError as error:
        raise Unavailable(
            f"{what}: {argv[0]}: {error.strerror}", resolution="install the package util-linux"
        ) from None
    try:
        _, said = process.communicate(timeout=MOUNT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise TimedOut(f"{what}: no answer in {MOUNT_TIMEOUT_S:.0f} s") from None
    if process.returncode:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        reason = lines[0] if lines else f"mount ended with {process.returncode}"
        raise Unavailable(what, details=reason.removeprefix("mount: "))


def unmount(target: str) -> None:
    """Unmount if something is mounted; files below are never touched. Raises Unavailable."""
    if not is_mounted(target):
        return
    try:
        libc.umount(target, UMOUNT_NOFOLLOW)
    except OSError:
        from runengine.linux import holders

        raise Unavailable(
            f"{target} is busy and cannot be unmounted",
            details=holders.describe(target),
            resolution="end what holds it",
        ) from None
