"""Programs that the engine runs: the OCI runtime, and what some flags need."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from runengine.errors import EngineError
from runengine.mgr.doctor.host import NOTE, OK, PROBLEM, Finding, first_line
from runengine.oci_spec import init
from runengine.runtime import abilities, runc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.doctor.host import Host

# Program, what it is for, package.
_OPTIONAL = (
    ("buildah", "images cannot be built here", "buildah"),
    ("criu", "containers cannot be checkpointed", "criu"),
)
_NEEDED_OF_CRIU = "external_net_ns"
"""criu 3.11, and a kernel that can be asked for what a checkpoint has to know."""
_SYSTEMD = "/run/systemd/system"


def runtimes(host: Host) -> Iterator[Finding]:
    """Each that the settings name; the default one is needed."""
    for name, (program, *arguments) in sorted(host.settings.runtimes.items()):
        is_default = name == host.settings.default_runtime
        title = f"runtime {name}"
        path = program if program.startswith("/") else host.program(program)
        if path is None or not host.exists(path):
            package = runc.PACKAGES.get(program, "")
            told = f"{program} is missing{': no container starts' if is_default else ''}"
            remedy = f"apt-get install {package}" if package else "correct it in the settings"
            yield Finding(title, PROBLEM if is_default else NOTE, told, remedy)
        else:
            yield _runtime(host, title, [path, *arguments])


def _runtime(host: Host, title: str, words: list[str]) -> Finding:
    shown = first_line(host.probes.output([*words, "--version"]))
    try:
        able = abilities.parse(host.probes.features(words))
    except EngineError:
        told = f"{shown}: tells no features, so it is older than runc 1.1"
        return Finding(title, NOTE, told, "a newer one is in the distribution's backports")
    lacks = []
    if not able.recursive_readonly:
        lacks.append("read-only binds stay writable in mounts below them")
    seen = "; ".join([shown, *lacks])
    return Finding(title, OK, seen)


def init_program(host: Host) -> Iterator[Finding]:
    """The one for ``--init``."""
    folders = ":".join(host.path(folder) for folder in init.FOLDERS.split(":"))
    try:
        yield Finding("init", OK, init.find_init(folders).removeprefix(host.root))
    except EngineError as error:
        yield Finding("init", NOTE, "missing: no --init", error.resolution or "")


def optional(host: Host) -> Iterator[Finding]:
    """What only some commands need."""
    for program, meaning, package in _OPTIONAL:
        if host.program(program) is None:
            told = f"missing: {meaning}"
            yield Finding(program, NOTE, told, f"apt-get install {package}")
            continue
        try:
            told = first_line(host.probes.output([program, "--version"])) or "there"
        except (OSError, subprocess.SubprocessError) as error:
            told = f"does not run: {error}"
        yield Finding(program, OK, told)


def checkpoints(host: Host) -> Iterator[Finding]:
    """Whether CRIU, where it is, can do its work on this kernel."""
    if host.program("criu") is None or not host.is_root:
        return
    try:
        told = host.probes.output(["criu", "check", "--feature", _NEEDED_OF_CRIU])
    except (OSError, subprocess.SubprocessError) as error:
        told = str(error)
    if told.strip().endswith("is supported"):
        yield Finding("checkpoints", OK, "networks of containers can be kept")
    else:
        remedy = "see criu check; a newer criu is in the distribution's backports"
        yield Finding("checkpoints", NOTE, f"criu cannot: {first_line(told)}", remedy)


def systemd(host: Host) -> Iterator[Finding]:
    """Whether the host is run by it."""
    if host.exists(_SYSTEMD):
        yield Finding("systemd", OK, "runs this host")
    else:
        told = "does not run this host: no units, no --cgroup-manager systemd"
        yield Finding("systemd", NOTE, told, "start runengine serve by the init that there is")


CHECKS = (runtimes, init_program, optional, checkpoints, systemd)
