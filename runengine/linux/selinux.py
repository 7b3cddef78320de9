"""What SELinux is on this host: the policy's labels for containers, and setting files' labels."""

from __future__ import annotations

import os
from typing import NamedTuple

_XATTR = "security.selinux"
_SETTINGS = "/etc/selinux/config"
_USUAL_POLICY = "targeted"
# The first that is there counts; container-selinux brings them.
_CONTEXTS = (
    "/usr/share/containers/selinux/contexts",
    "/etc/selinux/{policy}/contexts/lxc_contexts",
)


class Policy(NamedTuple):
    """Labels that the policy has for containers; empty where it knows none."""

    process: str = ""
    file: str = ""


def policy(root: str = "") -> Policy:
    """The loaded policy's labels, from the files below ``root`` (tests give a fake one)."""
    name = _values(f"{root}{_SETTINGS}").get("SELINUXTYPE", _USUAL_POLICY)
    for path in _CONTEXTS:
        found = _values(f"{root}{path.format(policy=name)}")
        if "process" in found and "file" in found:
            return Policy(found["process"], found["file"])
    return Policy()


def _values(path: str) -> dict[str, str]:
    """``KEY = "VALUE"`` lines of a file; nothing where there is no file."""
    values = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                key, equals, value = line.partition("=")
                if equals and not key.lstrip().startswith("#"):
                    values[key.strip()] = value.strip().strip("\"'")
    except OSError:
        return {}
    return values


def set_label(path: str, label: str) -> None:
    """Give a file, or the link itself, a label. Raises OSError."""
    os.setxattr(path, _XATTR, label.encode(), follow_symlinks=False)
