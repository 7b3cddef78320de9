"""``--device`` and ``--device-cgroup-rule``."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from runengine.model import DeviceMapping

_RULE = re.compile(r"([acb]) ([0-9]{1,10}|\*):([0-9]{1,10}|\*) ([rwm]{1,3})")

_NUMBER_LIMIT = 1 << 32  # the kernel's device cgroup keeps 32 bits

# What every container may use, nodes or not (devices.txt of the kernel).
DEFAULT_ACCESS = (
    ("c", 1, 3),  # null
    ("c", 1, 5),  # zero
    ("c", 1, 7),  # full
    ("c", 1, 8),  # random
    ("c", 1, 9),  # urandom
    ("c", 5, 0),  # tty
    ("c", 5, 1),  # console
    ("c", 5, 2),  # ptmx
    ("c", 136, None),  # every pseudo-terminal
)


def is_access(text: str) -> bool:
    """Whether ``text`` is a subset of ``rwm`` without repeats."""
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def parse_device(text: str) -> DeviceMapping:
    """Parse ``HOST[:CONTAINER[:ACCESS]]``. Raises InvalidParameter."""
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise InvalidParameter(
            f"invalid device specification: {text}", resolution="HOST[:CONTAINER[:rwm]]"
        )
    access = "rwm"
    # HOST:ACCESS, as Docker has it; a path begins with a slash, so anything else is meant as one.
    if len(parts) == 3 or (len(parts) == 2 and not parts[1].startswith("/")):
        access = parts.pop()
        if not is_access(access):
            raise InvalidParameter(f"invalid device mode: {access!r} in {text}")
    host = parts[0]
    inside = (parts[1] if len(parts) == 2 else "") or host
    mapping: DeviceMapping = {
        "PathOnHost": host,
        "PathInContainer": posixpath.normpath(inside),
        "CgroupPermissions": access,
    }
    check(mapping)
    return mapping


def check(mapping: DeviceMapping) -> None:
    """Raise InvalidParameter for relative paths and an access that is none.

    The path in the container and the access may be empty: the host's path, and all of it.
    """
    host = mapping["PathOnHost"]
    for path in (host, mapping["PathInContainer"] or host):
        if not path.startswith("/") or "\0" in path:
            raise InvalidParameter(f"invalid device {host}: {path!r} is not an absolute path")
        if posixpath.normpath(path).strip("/") == "":
            raise InvalidParameter(f"invalid device {host}: {path!r} is the root")
    access = mapping["CgroupPermissions"]
    if access and not is_access(access):
        raise InvalidParameter(f"invalid device mode: {access!r} of {host}")


def parse_rule(text: str) -> list[dict[str, Any]]:
    """Parse a ``--device-cgroup-rule`` such as ``c 1:* rmw``. Raises InvalidParameter.

    To the kernel a rule for ``a`` is every access to every device, whatever else it says. So one
    that says less is written as two, for character and for block devices.
    """
    match = _RULE.fullmatch(text.strip())
    if not match or not is_access(match[4]):
        raise InvalidParameter(
            f"invalid device cgroup rule {text!r}", resolution="e.g. 'c 42:* rmw'"
        )
    kind, access = match[1], match[4]
    major, minor = (None if part == "*" else int(part) for part in (match[2], match[3]))
    if max(major or 0, minor or 0) >= _NUMBER_LIMIT:
        raise InvalidParameter(f"invalid device cgroup rule {text!r}: no device has this number")
    whole = major is None and minor is None and len(access) == len("rwm")
    kinds = kind if kind != "a" or whole else "cb"
    return [rule(one, major, minor, access) for one in kinds]


def rule(kind: str, major: int | None, minor: int | None, access: str = "rwm") -> dict[str, Any]:
    """An allowing entry of ``linux.resources.devices``; None stands for every number."""
    section: dict[str, Any] = {"allow": True, "type": kind}
    if major is not None:
        section["major"] = major
    if minor is not None:
        section["minor"] = minor
    section["access"] = access
    return section
