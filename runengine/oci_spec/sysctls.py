"""``--sysctl``: only what belongs to a namespace of the container's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Collection

    from runengine.linux.kernel import Kernel
    from runengine.model import ContainerConfig, HostConfig

# ipc_namespaces(7) and /proc/sys/kernel of the kernel's documentation.
_IPC = frozenset(
    f"kernel.{name}"
    for name in (
        *("msgmax", "msgmnb", "msgmni", "sem"),
        *("shmall", "shmmax", "shmmni", "shm_rmid_forced"),
    )
)
_UTS = frozenset({"kernel.domainname"})
_FLAGS = {"network": "--network", "ipc": "--ipc", "uts": "--uts"}


def parse(text: str) -> tuple[str, str]:
    """Parse ``NAME=VALUE``. Raises InvalidParameter."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidParameter(f"invalid sysctl {text}: sysctl must be in format of key=value")
    return name, value


def normalise(name: str) -> str:
    """The dotted form of ``net/ipv4/conf/eth0.1/forwarding`` (sysctl(8))."""
    dot, slash = name.find("."), name.find("/")
    if slash < 0 or 0 <= dot < slash:
        return name
    return name.translate(str.maketrans("./", "/."))


def namespace_of(name: str) -> str:
    """The namespace type that holds a sysctl; empty for those of the whole host."""
    if name.startswith("net."):
        return "network"
    if name in _IPC or name.startswith("fs.mqueue."):
        return "ipc"
    return "uts" if name in _UTS else ""


def check(host: HostConfig, *, own: Collection[str]) -> None:
    """Raise InvalidParameter for a sysctl outside of the namespaces in ``own``."""
    for given, value in host["Sysctls"].items():
        name = normalise(given)
        if ".." in given + " " + name or "\0" in name + value or "\n" in value or not name:
            raise InvalidParameter(f"invalid sysctl {given}={value}")
        namespace = namespace_of(name)
        if not namespace:
            raise InvalidParameter(
                f"sysctl {given!r} is not allowed: it belongs to the whole host",
                resolution="set it on the host with sysctl -w",
            )
        if namespace not in own:
            raise InvalidParameter(
                f"sysctl {given!r} not allowed: the container shares another's {namespace}"
                " namespace",
                resolution=f"leave it out, or use another {_FLAGS[namespace]}",
            )


def effective(
    config: ContainerConfig,
    host: HostConfig,
    *,
    own: Collection[str],
    kernel: Kernel,
    last_gid: int = (1 << 31) - 1,
) -> dict[str, str]:
    """The user's sysctls over the defaults; raises as ``check`` does.

    ``last_gid`` is the last of those that begin with root's: a user namespace may have fewer.
    """
    check(host, own=own)
    values: dict[str, str] = {}
    if "network" in own and kernel.at_least(4, 11):
        # A container's own network has no ports or echo requests to protect from its users.
        values["net.ipv4.ip_unprivileged_port_start"] = "0"
        values["net.ipv4.ping_group_range"] = f"0 {last_gid}"
    if "uts" in own and config["Domainname"]:
        values["kernel.domainname"] = config["Domainname"]
    values.update((normalise(name), value) for name, value in host["Sysctls"].items())
    return values
