"""Starts that fail because of the container's own seccomp profile, which the runtime cannot tell.

The runtime's init loads the filter and then still has to become the program: a profile that kills
or refuses what this takes ends it, and the runtime only sees that it is dead.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from runengine.errors import RuntimeFailed
from runengine.oci_spec import security_opt

if TYPE_CHECKING:
    from runengine.store.containers import Record

_SIGNS = ("already dead", "seccomp")
"""In the runtime's errors, or in the monitor's (``monitor/hanging.py``)."""


def explained(record: Record, error: RuntimeFailed) -> RuntimeFailed:
    """The error that names the profile, if that may be why the start failed."""
    text = security_opt.parse(record.host_config["SecurityOpt"]).seccomp
    if text in ("", security_opt.DEFAULT, security_opt.UNCONFINED):
        return error
    if not any(sign in error.brief for sign in _SIGNS):
        return error
    return RuntimeFailed(
        f"cannot start container {record.name}: its own seccomp profile (--security-opt seccomp,"
        f" default action {_default_action(text)}) does not let it begin",
        details=error.brief,
        resolution="allow what every program needs, such as execve, futex, write and exit_group;"
        " a profile with SCMP_ACT_LOG shows in the kernel's log what that is",
    )


def _default_action(text: str) -> str:
    try:
        return str(json.loads(text)["defaultAction"])
    except (ValueError, KeyError, TypeError):
        return "unknown"
