"""Giving a whole tree of files one SELinux label."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from runengine.errors import EngineError, Unsupported
from runengine.linux import selinux
from runengine.rootfs.walk import walk

if TYPE_CHECKING:
    from collections.abc import Callable

    Label = Callable[[str, str], None]


def relabel(path: str, label: str, set_label: Label = selinux.set_label) -> None:
    """Label ``path`` and everything below it; neither links nor mounts are followed.

    Raises Unsupported if the filesystem keeps no labels, EngineError for whatever else fails.
    """

    def file(fd: int, entry: os.DirEntry[str]) -> None:
        set_label(f"/proc/self/fd/{fd}/{entry.name}", label)

    def directory(fd: int, name: str) -> None:
        set_label(f"/proc/self/fd/{fd}/{name}", label)

    try:
        if os.path.isdir(path) and not os.path.islink(path):
            for _ in walk(path, file, directory):
                pass
        set_label(path, label)
    except OSError as error:
        _explain(error, path, label)


def _explain(error: OSError, path: str, label: str) -> None:
    if error.errno == errno.EXDEV:
        raise EngineError(
            f"cannot give {path} the label {label}: something is mounted below it",
            resolution="label it yourself (chcon -R) and leave :z or :Z out",
        ) from error
    if error.errno in (errno.EOPNOTSUPP, errno.EROFS):
        raise Unsupported(
            f"cannot give {path} the label {label}",
            details=error.strerror,
            resolution="leave :z or :Z out, or mount it with context=",
        ) from error
    raise EngineError(f"cannot give {path} the label {label}", details=error.strerror) from error
