"""What the kernel's refusals mean to an operator."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from runengine.errors import (
    AlreadyExists,
    Conflict,
    EngineError,
    InvalidParameter,
    NotFound,
    Unsupported,
)

if TYPE_CHECKING:
    from runengine.netns.netlink import NetlinkError
    from runengine.netns.types import Endpoint

_ENDPOINT: dict[int, tuple[type[EngineError], str, str]] = {
    errno.EEXIST: (
        AlreadyExists,
        "the container has an interface of this name, or the host one named {host_name}",
        "",
    ),
    errno.ENODEV: (NotFound, "{device} or the interface itself has gone meanwhile", "try again"),
    errno.EXFULL: (
        Conflict,
        "bridge {device} is full",
        "a bridge takes 1023 containers: make another network",
    ),
    errno.EOPNOTSUPP: (
        Unsupported,
        "this kernel has no driver for it",
        "load the module: modprobe {module}",
    ),
    errno.EADDRNOTAVAIL: (InvalidParameter, "{mac} is no MAC address for an interface", ""),
    errno.EINVAL: (InvalidParameter, "the kernel takes one of its settings for invalid", ""),
    errno.ERANGE: (InvalidParameter, "a value is out of range", ""),
    errno.EBUSY: (Conflict, "{device} is in use in a way that does not allow it", ""),
    errno.ENETUNREACH: (
        InvalidParameter,
        "its gateway {gateways} cannot be reached from {addresses}",
        "",
    ),
    errno.EHOSTUNREACH: (
        InvalidParameter,
        "its gateway {gateways} cannot be reached from {addresses}",
        "",
    ),
}


def of_endpoint(endpoint: Endpoint, error: NetlinkError) -> EngineError:
    """The error to raise for an interface that the kernel did not want."""
    brief = f"cannot attach interface {endpoint.name} to {endpoint.device}"
    kind, reason, resolution = _ENDPOINT.get(error.errno or 0, (EngineError, "", ""))
    facts = {
        "device": endpoint.device,
        "host_name": endpoint.host_name,
        "mac": endpoint.mac,
        "module": "veth" if endpoint.driver == "bridge" else endpoint.driver,
        "gateways": ", ".join(endpoint.gateways),
        "addresses": ", ".join(endpoint.addresses),
    }
    details = f"{reason.format(**facts)}: {error.strerror}" if reason else error.strerror
    return kind(brief, details=details, resolution=resolution.format(**facts) or None)
