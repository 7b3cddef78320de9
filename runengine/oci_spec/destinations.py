"""Where in a container a user may mount something: not over what confines the container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from runengine.oci_spec.mounts import MountPoint

PROC = "/proc"
DEV = "/dev"
# Files that tell numbers and take none; programs such as LXCFS give a container its own of them.
# The ones that runtimes allow (runc's libcontainer/rootfs_linux.go).
_NUMBERS = frozenset(
    f"{PROC}/{name}"
    for name in (
        *("cpuinfo", "diskstats", "loadavg", "meminfo", "net/dev", "slabinfo", "stat"),
        *("swaps", "sys/crypto/fips_enabled", "sys/kernel/ns_last_pid", "uptime"),
    )
)


def check(point: MountPoint, real: str = "") -> None:
    """Raise InvalidParameter for a mount over /proc or within it.

    Masks and read-only paths would be missing there, and writing to a false /proc would set
    labels and limits of nothing (CVE-2019-16884). ``real`` is where the destination leads; to
    the root and to /dev it must not be by a link: the runtime would make its nodes in what is
    mounted.
    """
    target = real or point.destination
    if target in ("/", DEV) and target != point.destination:
        raise InvalidParameter(
            f"mount on {point.destination}, which leads to {target}, is refused",
            resolution="mount elsewhere; the image has a link there",
        )
    if target == PROC and point.source == PROC:
        return  # the host's, as a tool for the host wants it; runtimes allow that
    if (target == PROC or target.startswith(f"{PROC}/")) and target not in _NUMBERS:
        leads = f", which leads to {target}," if target != point.destination else ""
        raise InvalidParameter(
            f"mount on {point.destination}{leads} is refused: it would cover /proc",
            resolution="mount elsewhere; --security-opt unmask= and --sysctl change what is there",
        )
