"""What a build of the OCI runtime can do (runtime-spec, features.md), asked once per build.

The answer takes the runtime's own start to get, which is a good part of a container's. So it is
kept in a file beside what identifies the program: an upgraded one is asked anew.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import EngineError
from runengine.linux import fsatomic

if TYPE_CHECKING:
    from collections.abc import Callable

    Document = dict[str, Any]

_EXEC_CPU_AFFINITY = (1, 2, 1)
"""The first runtime-spec that has it."""


class Abilities(NamedTuple):
    """Of all that a runtime tells, what the engine decides by."""

    version: str = ""
    """Name and version for messages, empty if it does not tell."""
    recursive_readonly: bool = True
    """Whether it knows the mount option rro; those that tell nothing (runc < 1.1) are too old."""
    seccomp_flags: tuple[str, ...] = ()
    """Flags of a filter that it sets and this kernel takes."""
    mapped_mounts: bool = False
    """Whether it makes mounts that map ids (runc >= 1.2); the same releases read the maps off a
    user namespace that they join, and mind being told."""
    memory_policies: tuple[str, ...] = ()
    """Modes of ``linux.memoryPolicy`` that it sets (runtime-spec 1.3)."""
    exec_cpu_affinity: bool = False
    """Whether it knows ``process.execCPUAffinity`` (runtime-spec 1.2.1; runc >= 1.3)."""


def parse(document: Document) -> Abilities:
    """The abilities in an answer to ``features``; what has another shape counts as not there."""
    linux = _part(document, "linux")
    options, notes = document.get("mountOptions"), _part(document, "annotations")
    flags = _part(linux, "seccomp").get("supportedFlags")
    extensions = _part(_part(linux, "mountExtensions"), "idmap")
    policies = _part(linux, "memoryPolicy").get("modes")
    return Abilities(
        version=str(notes.get("org.opencontainers.runc.version", "")),
        recursive_readonly=not isinstance(options, list) or "rro" in options,
        seccomp_flags=tuple(map(str, flags)) if isinstance(flags, list) else (),
        mapped_mounts=extensions.get("enabled") is True,
        memory_policies=tuple(map(str, policies)) if isinstance(policies, list) else (),
        exec_cpu_affinity=_version(document.get("ociVersionMax")) >= _EXEC_CPU_AFFINITY,
    )


def _version(text: object) -> tuple[int, ...]:
    """The numbers of ``1.2.1-dev``; none for what is no version."""
    parts = re.match(r"(\d+)\.(\d+)\.(\d+)", str(text))
    return tuple(map(int, parts.groups())) if parts else ()


def _part(document: Document, name: str) -> Document:
    part = document.get(name)
    return part if isinstance(part, dict) else {}


def known(program: str, note: str, ask: Callable[[], Document]) -> Abilities:
    """The abilities of ``program``, from the file ``note`` or else by ``ask``.

    A runtime that cannot be asked has the defaults, and a note that cannot be written is none:
    neither keeps a container from starting.
    """
    identity = _identity(program)
    try:
        with open(note, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs an import
            kept = json.load(file)
        if kept["program"] == identity:
            return parse(kept["features"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # never asked, or not by us
    try:
        features = ask()
    except EngineError:
        features = {}
    try:
        document = {"program": identity, "features": features}
        fsatomic.replace_json(note, document, durable=False)
    except OSError:
        pass
    return parse(features)


def _identity(program: str) -> list[Any]:
    try:
        seen = os.stat(program)  # noqa: PTH116
    except OSError:
        return [program]
    return [program, seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns]
