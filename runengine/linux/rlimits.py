"""This process's own resource limits: what it can hand on (getrlimit(2))."""

from __future__ import annotations

import resource

UNLIMITED = -1


def hard_limits() -> dict[str, int]:
    """Hard limit by the short name that ``--ulimit`` uses; -1 is unlimited."""
    found = {}
    for name in dir(resource):
        if name.startswith("RLIMIT_"):
            hard = resource.getrlimit(getattr(resource, name))[1]
            found[name[7:].lower()] = UNLIMITED if hard == resource.RLIM_INFINITY else hard
    return found
