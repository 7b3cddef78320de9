"""What this host can do, each thing probed once: ``@needs("runc", "overlay")``.

A name is one of FEATURES, or a program that must be on PATH.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runengine.linux import libc, mount

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = {
    "busybox": "busybox-static",
    "getfattr": "attr",
    "htpasswd": "apache2-utils",
    "ip": "iproute2",
    "nft": "nftables",
    "setfattr": "attr",
}


def needs(*names: str) -> pytest.MarkDecorator:
    """Mark a test, or a module by ``pytestmark``, to be skipped where a capability is missing."""
    return pytest.mark.needs(*names)


@functools.cache
def missing(name: str) -> str | None:
    """Why the host lacks ``name``, or None if it has it."""
    probe = FEATURES.get(name)
    if probe is not None:
        return probe()
    if shutil.which(name):
        return None
    return f"no {name} on PATH (apt-get install {PACKAGES.get(name, name)})"


def _root() -> str | None:
    return None if os.geteuid() == 0 else "not root"


def _overlay() -> str | None:
    if os.geteuid() != 0:
        return "overlay mounts need root"
    with tempfile.TemporaryDirectory(prefix="runengine-probe-") as base:
        for name in ("lower", "upper", "work", "merged"):
            Path(base, name).mkdir()
        options = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work"
        try:
            libc.mount("overlay", f"{base}/merged", "overlay", 0, options)
        except OSError as error:
            return f"no overlay over {base}: {error.strerror}"
        libc.umount(f"{base}/merged", mount.MNT_DETACH)
    return None


def _cgroup2() -> str | None:
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    return None if unified else "no unified cgroup v2 hierarchy at /sys/fs/cgroup"


def _cgroup1() -> str | None:
    legacy = Path("/sys/fs/cgroup/memory").is_dir() or Path("/sys/fs/cgroup/pids").is_dir()
    return None if legacy else "no cgroup v1 controllers under /sys/fs/cgroup"


def _apparmor() -> str | None:
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    on = enabled.exists() and enabled.read_text().startswith("Y")
    return None if on else "no AppArmor in this kernel"


def _loop() -> str | None:
    return None if Path("/dev/loop-control").exists() else "no loop devices"


def _device_nodes() -> str | None:
    with tempfile.TemporaryDirectory(prefix="runengine-probe-") as base:
        try:
            os.mknod(f"{base}/null", 0o20600, os.makedev(1, 3))
        except OSError as error:
            return f"cannot make device nodes: {error.strerror}"
    return None


def _journald() -> str | None:
    here = shutil.which("journalctl") and Path("/lib/systemd/systemd-journald").exists()
    return None if here else "no systemd-journald (apt-get install systemd)"


FEATURES: dict[str, Callable[[], str | None]] = {
    "apparmor": _apparmor,
    "cgroup1": _cgroup1,
    "cgroup2": _cgroup2,
    "device-nodes": _device_nodes,
    "journald": _journald,
    "loop": _loop,
    "overlay": _overlay,
    "root": _root,
}
