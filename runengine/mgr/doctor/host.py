"""The host as checks see it: a tree of files, and the few things that have to be asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.linux import kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runengine.config import Config
    from runengine.paths import Paths

OK, NOTE, PROBLEM = "ok", "note", "problem"
PROGRAM_TIMEOUT_S = 10
SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Finding(NamedTuple):
    """One line of the report."""

    name: str
    status: str
    """``ok``; ``note``: something optional is missing, or could not be seen; ``problem``."""
    seen: str
    """What there is, with what it means where that is not plain."""
    remedy: str = ""
    """What the operator can do."""


class Section(NamedTuple):
    """Findings on one subject."""

    title: str
    findings: tuple[Finding, ...]


class Hidden(Exception):
    """What is to be looked at cannot be seen from here; the text says why."""


class Probes(NamedTuple):
    """What is asked of the kernel and of programs; tests give their own answers."""

    system_call: Callable[[int], bool]
    """Whether the kernel has the system call of this number."""
    driver: Callable[[str], bool]
    """Whether it can make interfaces of this kind."""
    nftables: Callable[[], None]
    """Raises EngineError or OSError unless it has nftables."""
    d_type: Callable[[str], bool]
    """Whether a directory tells the types of what is in it."""
    output: Callable[[Sequence[str]], str]
    """What a program prints. Raises OSError."""
    features: Callable[[Sequence[str]], dict[str, Any]]
    """What the OCI runtime of this command line says of itself. Raises EngineError."""


class Host(NamedTuple):
    """Where everything is; with ``root`` a made-up host below that directory."""

    paths: Paths
    probes: Probes
    settings: Config
    settings_error: Exception | None = None
    """Why these are the defaults and not the configuration file's."""
    root: str = ""
    is_root: bool = True

    def path(self, path: str) -> str:
        """Where an absolute path of the host is to be looked at."""
        return self.root + path

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return os.path.exists(self.path(path))

    def text(self, path: str) -> str | None:
        """A small file's text; None where there is none, or it cannot be read."""
        try:
            with open(self.path(path), encoding="utf-8", errors="surrogateescape") as file:
                return file.read()
        except OSError:
            return None

    def number(self, path: str) -> int | None:
        """A file's number; None where there is none."""
        words = (self.text(path) or "").split()
        return int(words[0]) if words and words[0].lstrip("-").isdigit() else None

    def program(self, name: str) -> str | None:
        """Where a program is, or None."""
        for directory in SEARCHED.split(":"):
            path = f"{directory}/{name}"
            if os.access(self.path(path), os.X_OK) and not os.path.isdir(self.path(path)):
                return path
        return None

    def module(self, name: str) -> str:
        """How the kernel has a module: ``loaded``, ``module`` (loaded when used), or empty."""
        known = name.replace("-", "_")
        if self.exists(f"/sys/module/{known}"):
            return "loaded"
        release = (self.text("/proc/sys/kernel/osrelease") or "").strip()
        for listing in ("modules.dep", "modules.builtin"):
            text = (self.text(f"/lib/modules/{release}/{listing}") or "").replace("-", "_")
            if f"/{known}.ko" in text:
                return "module"
        return ""

    def kernel(self) -> kernel.Kernel:
        """What the kernel tells of itself. Raises Hidden where there is no /proc."""
        if not self.exists("/proc/self/status"):
            raise Hidden("cannot be seen: /proc is not mounted here")
        return kernel.read(self.root)

    def need_root(self, what: str) -> None:
        """Raise Hidden unless this process is root."""
        if not self.is_root:
            raise Hidden(f"cannot see {what} without root")


def first_line(text: str) -> str:
    """The first line that is not empty."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
