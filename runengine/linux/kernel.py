"""What this kernel and this process can do: read once per process, about 0.3 ms."""

from __future__ import annotations

import os
from typing import NamedTuple

# Bit numbers of linux/capability.h; a kernel may know fewer or more.
CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)


class Kernel(NamedTuple):
    """Facts about the running kernel and about what this process may do."""

    release: str
    """``uname -r``."""
    version: tuple[int, int]
    """Major and minor number."""
    machine: str
    """``uname -m``: x86_64, aarch64, ..."""
    cgroup_version: int
    """2 when /sys/fs/cgroup is the unified hierarchy, else 1 (hybrid counts as 1)."""
    seccomp: bool
    """Whether seccomp filters are built in."""
    apparmor: bool
    """Whether AppArmor is built in and switched on."""
    bounding: tuple[str, ...]
    """Capabilities of this process's bounding set: the most a container can be given."""
    effective: tuple[str, ...]
    """Capabilities this process has now."""
    namespaces: frozenset[str]
    """Runtime-spec namespace types that the kernel has: pid, network, cgroup, ..."""
    oom_score_adj: int = 0
    """This process's own; children inherit it."""
    thermal_paths: tuple[str, ...] = ()
    """Folders in /sys that count a CPU's thermal events (they tell what the host does)."""
    selinux: bool = False
    """Whether SELinux is built in and switched on."""

    def at_least(self, major: int, minor: int) -> bool:
        """Whether the kernel is ``major.minor`` or newer."""
        return self.version >= (major, minor)

    @property
    def recursive_readonly(self) -> bool:
        """Whether read-only binds can be made read-only all the way down (mount_setattr(2))."""
        return self.at_least(5, 12)


_cached: Kernel | None = None


def probe() -> Kernel:
    """The running kernel; read once per process."""
    global _cached
    if _cached is None:
        _cached = read("/")
    return _cached


def forget() -> None:
    """Read anew when asked next: this process is to become another's child, in effect."""
    global _cached
    _cached = None


def read(root: str) -> Kernel:
    """Read every fact from the proc and sys mounted below ``root`` (tests give a fake one)."""
    uname = os.uname()
    status = _status_fields(_text(f"{root}/proc/self/status"))
    release = _text(f"{root}/proc/sys/kernel/osrelease").strip() or uname.release
    return Kernel(
        release=release,
        version=parse_version(release),
        machine=uname.machine,
        cgroup_version=2 if os.path.exists(f"{root}/sys/fs/cgroup/cgroup.controllers") else 1,
        seccomp="Seccomp" in status,
        apparmor=_text(f"{root}/sys/module/apparmor/parameters/enabled").startswith("Y"),
        bounding=capability_names(int(status.get("CapBnd", "0"), 16)),
        effective=capability_names(int(status.get("CapEff", "0"), 16)),
        namespaces=_namespaces(f"{root}/proc/self/ns"),
        oom_score_adj=int(_text(f"{root}/proc/self/oom_score_adj") or 0),
        thermal_paths=_thermal_paths(root),
        selinux=os.path.exists(f"{root}/sys/fs/selinux/enforce"),
    )


def parse_version(release: str) -> tuple[int, int]:
    """Major and minor of a release such as ``6.1.0-18-amd64``; (0, 0) if it has none."""
    major, _, rest = release.partition(".")
    digits = ""
    for char in rest:
        if not char.isdigit():
            break
        digits += char
    if not major.isdigit() or not digits:
        return (0, 0)
    return (int(major), int(digits))


def capability_names(mask: int) -> tuple[str, ...]:
    """Names of the bits in a capability mask; bits without a name are passed over."""
    return tuple(name for bit, name in enumerate(CAPABILITIES) if mask >> bit & 1)


def _status_fields(text: str) -> dict[str, str]:
    fields = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields[key] = value.strip()
    return fields


_NAMESPACE_FILES = {
    "cgroup": "cgroup",
    "ipc": "ipc",
    "mnt": "mount",
    "net": "network",
    "pid": "pid",
    "time": "time",
    "user": "user",
    "uts": "uts",
}


def _namespaces(directory: str) -> frozenset[str]:
    try:
        names = os.listdir(directory)
    except OSError:
        return frozenset()
    return frozenset(_NAMESPACE_FILES[name] for name in names if name in _NAMESPACE_FILES)


def _thermal_paths(root: str) -> tuple[str, ...]:
    """All CPUs have the folder or none has."""
    cpus = "/sys/devices/system/cpu"
    if not os.path.exists(f"{root}{cpus}/cpu0/thermal_throttle"):
        return ()
    names = (name for name in os.listdir(f"{root}{cpus}") if name.startswith("cpu"))
    numbers = sorted(int(name[3:]) for name in names if name[3:].isdigit())
    return tuple(f"{cpus}/cpu{number}/thermal_throttle" for number in numbers)


def _text(path: str) -> str:
    """The file's text, or nothing where the kernel has no such file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
