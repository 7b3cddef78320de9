"""Settings of one interface in /proc/sys/net, of the namespace that the calling thread is in."""

from __future__ import annotations

import os
import re

from runengine.errors import InvalidParameter, NotFound

ROOT = "/proc/sys/net"
PLACEHOLDER = "IFNAME"
"""Stands for the interface in a setting that was written before the interface had a name."""
_KEY = re.compile(rf"net\.(ipv4|ipv6|mpls)\.(conf|neigh)\.{PLACEHOLDER}\.([a-z0-9_]+)")


def has_ipv6() -> bool:
    """Whether this kernel has IPv6, and not disabled as a whole (``ipv6.disable=1``)."""
    return os.path.isdir(f"{ROOT}/ipv6/conf")


def set_ipv4(device: str, name: str, value: str) -> None:
    """Set ``net.ipv4.conf.DEVICE.NAME``; a kernel without the setting goes without."""
    _write_known(f"{ROOT}/ipv4/conf/{device}/{name}", value)


def set_ipv6(device: str, name: str, value: str) -> None:
    """Set ``net.ipv6.conf.DEVICE.NAME``; a kernel without the setting goes without."""
    _write_known(f"{ROOT}/ipv6/conf/{device}/{name}", value)


def get_ipv6(device: str, name: str) -> str | None:
    """The value of ``net.ipv6.conf.DEVICE.NAME``, or None where there is no such setting."""
    try:
        with open(f"{ROOT}/ipv6/conf/{device}/{name}", encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return None


def check(key: str) -> None:
    """Raise InvalidParameter unless this is a setting of an interface."""
    _parts(key)


def set_by_key(device: str, key: str, value: str) -> None:
    """Set what a user asked for, such as ``net.ipv4.conf.IFNAME.log_martians``.

    Raises InvalidParameter or NotFound, which name the setting.
    """
    family, group, name = _parts(key)
    try:
        _write(f"{ROOT}/{family}/{group}/{device}/{name}", value)
    except FileNotFoundError:
        raise NotFound(f"no setting {key} of interface {device} in this kernel") from None
    except OSError as error:
        raise InvalidParameter(
            f"cannot set {key}={value} of interface {device}", details=error.strerror
        ) from error


def _parts(key: str) -> tuple[str, str, str]:
    match = _KEY.fullmatch(key)
    if match is None:
        raise InvalidParameter(
            f"invalid setting {key!r} of an interface",
            resolution=f"write it as net.ipv4.conf.{PLACEHOLDER}.NAME or net.ipv6.…",
        )
    return match[1], match[2], match[3]


def _write_known(path: str, value: str) -> None:
    try:
        _write(path, value)
    except FileNotFoundError:
        return


def _write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
