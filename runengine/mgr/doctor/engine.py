"""The engine itself: its version, interpreter, libraries and settings."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from runengine import __version__
from runengine.mgr.doctor.host import NOTE, OK, PROBLEM, Finding, Hidden

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.doctor.host import Host

# Module to the package that has it (install_requires in setup.cfg).
LIBRARIES = {
    "click": "click",
    "dns": "dnspython",
    "isal": "isal",
    "oras": "oras",
    "prctl": "python-prctl",
    "prometheus_client": "prometheus-client",
    "psutil": "psutil",
    "pydantic": "pydantic",
    "pyroute2": "pyroute2",
    "tarsafe": "tarsafe",
    "yaml": "PyYAML",
    "zstandard": "zstandard",
}


def version(_host: Host) -> Iterator[Finding]:
    """The engine's and Python's."""
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("version", OK, f"runengine {__version__} on Python {python}")


def libraries(_host: Host) -> Iterator[Finding]:
    """Found, not imported."""
    missing = [package for module, package in LIBRARIES.items() if find_spec(module) is None]
    if missing:
        told = f"missing for this Python: {', '.join(missing)}"
        yield Finding("libraries", PROBLEM, told, f"pip install {' '.join(missing)}")
    else:
        yield Finding("libraries", OK, f"all {len(LIBRARIES)} there")


def settings(host: Host) -> Iterator[Finding]:
    """Whether the configuration file can be used."""
    if isinstance(host.settings_error, PermissionError):
        raise Hidden(f"cannot read {host.settings_error.filename} without root")
    if host.settings_error is not None:
        told = f"{host.settings_error}: no command works"
        yield Finding("settings", PROBLEM, told, "correct the file, or move it away")
    else:
        yield Finding("settings", OK, f"root {host.paths.root}, state {host.paths.state}")


def hooks(host: Host) -> Iterator[Finding]:
    """The operator's hooks, if there are to be any: one that cannot be read stops every start."""
    directories = host.settings.hooks_dirs
    if not directories:
        return
    from runengine.mgr.container import hooks as host_hooks

    damaged = list(host_hooks.damage(directories))
    for error in damaged:
        told = f"{error.brief}: no container starts"
        yield Finding("hooks", PROBLEM, told, error.resolution or "correct the file, or remove it")
    if not damaged:
        number = len(host_hooks.files(directories))
        yield Finding("hooks", OK, f"{number} of {', '.join(directories)}")


def privileges(host: Host) -> Iterator[Finding]:
    """Every command but a few needs root."""
    if not host.is_root:
        told = "not root: containers need it, and some of this report too"
        yield Finding("privileges", NOTE, told, "sudo runengine doctor")


CHECKS = (version, libraries, settings, hooks, privileges)
