"""What confines containers: system call filters, security modules, capabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.linux import kernel
from runengine.linux.selinux import policy
from runengine.mgr.doctor.host import NOTE, OK, PROBLEM, Finding, Hidden

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.doctor.host import Host

# Without these no container starts with its defaults.
_NEEDED = ("CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SETUID",
           "CAP_SETGID", "CAP_MKNOD", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_SETPCAP")  # fmt: skip


def seccomp(host: Host) -> Iterator[Finding]:
    """The system call filter."""
    if host.kernel().seccomp:
        yield Finding("seccomp", OK, "there: the default profile applies")
    else:
        told = "not in this kernel: containers may make every system call"
        yield Finding("seccomp", PROBLEM, told, "a kernel with CONFIG_SECCOMP_FILTER")


def apparmor(host: Host) -> Iterator[Finding]:
    """Where it is on, its parser loads the default profile."""
    if not host.exists("/sys/module"):
        raise Hidden("cannot be seen: /sys is not mounted here")
    if not host.kernel().apparmor:
        told = "off: containers have no AppArmor profile"
        remedy = "where the kernel has it: boot with apparmor=1 security=apparmor"
        yield Finding("AppArmor", NOTE, told, remedy)
    elif host.program("apparmor_parser") is None:
        told = "on, but apparmor_parser is missing: no container starts with the default profile"
        yield Finding("AppArmor", PROBLEM, told, "apt-get install apparmor")
    else:
        yield Finding("AppArmor", OK, "on, the profile runengine-default is loaded when needed")


def selinux(host: Host) -> Iterator[Finding]:
    """Whether labels would matter."""
    if not host.exists("/sys/fs/selinux/enforce"):
        return
    enforcing = host.number("/sys/fs/selinux/enforce") == 1
    mode = "enforcing" if enforcing else "permissive"
    if not policy(host.path("")).process:
        told = f"{mode}; the policy has no labels for containers: they get none"
        yield Finding("SELinux", NOTE, told, "dnf install container-selinux")
    else:
        yield Finding("SELinux", OK, f"{mode}; containers are labelled")


def capabilities(host: Host) -> Iterator[Finding]:
    """What this process holds, and so what it can give."""
    here = host.kernel()
    host.need_root("the capabilities of the service")
    lacking = [name for name in _NEEDED if name not in here.effective]
    if lacking:
        told = f"root without {', '.join(lacking)}: containers do not start"
        remedy = "run it outside this container, or with these capabilities"
        yield Finding("capabilities", PROBLEM, told, remedy)
        return
    known = _known(host)
    absent = [name for name in known if name not in here.bounding]
    if absent:
        told = f"without {', '.join(absent)}: --privileged does not give it either"
        yield Finding("capabilities", NOTE, told)
    else:
        yield Finding("capabilities", OK, "all")


def _known(host: Host) -> tuple[str, ...]:
    """Those that this kernel knows."""
    last = host.number("/proc/sys/kernel/cap_last_cap")
    return kernel.CAPABILITIES if last is None else kernel.CAPABILITIES[: last + 1]


CHECKS = (seccomp, apparmor, selinux, capabilities)
