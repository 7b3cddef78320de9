"""The operator's hooks: the files on this host, and which of them a container gets.

Directories (``hooks_dirs``) are read at each start. What cannot be read stops it: the hook may be
what confines the container.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter
from runengine.mgr.container import volumes
from runengine.mgr.container.operator_files import content
from runengine.oci_spec import hooks, merge

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runengine.oci_spec.cdi import Hook
    from runengine.store.containers import Record

_SUFFIX = ".json"
_SIZE_LIMIT = 1 << 20
_HOST_MOUNTS = ("bind", "volume")


def hooks_of(record: Record, directories: Sequence[str]) -> tuple[Hook, ...]:
    """What the container gets, in the order of the files' names. Raises InvalidParameter."""
    words = merge.command(record.config)
    subject = hooks.Subject(
        command=words[0] if words else "",
        annotations=record.host_config["Annotations"] or {},
        has_bind_mounts=any(point.type in _HOST_MOUNTS for point in volumes.points_of(record)),
    )
    documents = [read(path) for path in files(directories)]
    return tuple(hooks.select(documents, subject))


def files(directories: Sequence[str]) -> list[str]:
    """The files that count, by name: one in a later directory stands for an earlier one.

    Raises InvalidParameter for a directory that is not there.
    """
    found: dict[str, str] = {}
    for directory in directories:
        try:
            names = os.listdir(directory)
        except OSError as error:
            raise InvalidParameter(
                f"hooks directory {directory}: {error.strerror}",
                resolution="make it, or take it out of hooks_dirs in the configuration file",
            ) from None
        found.update((name, f"{directory}/{name}") for name in names if name.endswith(_SUFFIX))
    return [found[name] for name in sorted(found)]


def read(path: str) -> hooks.Document:
    """The hook of a file, its program there. Raises InvalidParameter."""
    document = hooks.parse(content(path, "hook", _SIZE_LIMIT), path)
    program = document.section["path"]
    # Those of startContainer are run by the container's own process, and so are inside.
    there = os.path.isfile(program) and os.access(program, os.X_OK)
    if not there and document.stages != ("startContainer",):
        raise InvalidParameter(
            f"hook {path}: hook.path: {program} is no program that can be run",
            resolution="install what the hook belongs to, or remove the file",
        )
    return document


def damage(directories: Sequence[str]) -> Iterator[InvalidParameter]:
    """Everything for which a start would be refused."""
    try:
        paths = files(directories)
    except InvalidParameter as error:
        yield error
        return
    for path in paths:
        try:
            read(path)
        except InvalidParameter as error:
            yield error
