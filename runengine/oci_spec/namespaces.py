"""The modes of ``--pid``, ``--ipc``, ``--uts``, ``--network``, ``--cgroupns``, ``--userns``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter, Unsupported
from runengine.oci_spec import idmaps

if TYPE_CHECKING:
    from runengine.linux.kernel import Kernel
    from runengine.model import HostConfig

HOST = "host"
PRIVATE = "private"
NONE = "none"
SHAREABLE = "shareable"
CONTAINER = "container:"
NETNS = "netns:"


class Mode(NamedTuple):
    """How a container gets one of its namespaces."""

    kind: str
    """``private`` (a new one), ``host``, ``container`` or ``netns`` (one that is pinned)."""
    container: str = ""
    """Name or id of the container to join."""


# HostConfig key, command line flag and the words that mean a new namespace.
_MODES = {
    "pid": ("PidMode", "--pid", {"", PRIVATE}),
    "ipc": ("IpcMode", "--ipc", {"", PRIVATE, SHAREABLE, NONE}),
    "uts": ("UTSMode", "--uts", {"", PRIVATE}),
    "cgroup": ("CgroupnsMode", "--cgroupns", {"", PRIVATE}),
}


def modes(host: HostConfig, kernel: Kernel) -> dict[str, Mode]:
    """Mode of every namespace by its runtime-spec type. Raises InvalidParameter, Unsupported."""
    found = {
        kind: _mode(host[key], flag, private)  # type: ignore[literal-required]  # four keys above
        for kind, (key, flag, private) in _MODES.items()
    }
    found["network"] = _network(host["NetworkMode"])
    if found["cgroup"].container:
        raise InvalidParameter(f"invalid --cgroupns {host['CgroupnsMode']}: use private or host")
    idmaps.check(host)
    found["cgroup"] = _cgroup(host["CgroupnsMode"], found["cgroup"], kernel)
    return found


def _mode(text: str, flag: str, private: set[str]) -> Mode:
    if text in private:
        return Mode(PRIVATE)
    if text == HOST:
        return Mode(HOST)
    if text.startswith(CONTAINER):
        name = text.removeprefix(CONTAINER)
        if name:
            return Mode("container", name)
    words = sorted(word for word in private if word)
    raise InvalidParameter(
        f"invalid {flag} {text!r}", resolution=f"use {', '.join(words)}, host or container:NAME"
    )


def _network(text: str) -> Mode:
    """Everything but host and what is joined is a namespace of the container's own."""
    if text.startswith(NETNS):
        return Mode("netns")
    if text == HOST or text.startswith(CONTAINER):
        return _mode(text, "--network", set())
    return Mode(PRIVATE)


def _cgroup(text: str, mode: Mode, kernel: Kernel) -> Mode:
    if text == "":
        return Mode(PRIVATE if kernel.cgroup_version == 2 else HOST)
    if mode.kind == PRIVATE and "cgroup" not in kernel.namespaces:
        raise Unsupported("--cgroupns private: this kernel has no cgroup namespaces")
    return mode
