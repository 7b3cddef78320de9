"""The root of a container that does not run, with its mounts, where nobody else sees it.

The mounts are in a namespace of no process (``linux.mountns``), so whoever dies leaves none, and
no link in the container decides where on the host something is mounted.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import EngineError
from runengine.linux import fscontext, libc, mount, mountns
from runengine.rootfs import inside, overlay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.linux.mountns import Detached

_IN_ROOT = libc.RESOLVE_IN_ROOT | libc.RESOLVE_NO_MAGICLINKS


class Layers(NamedTuple):
    """What an overlay is made of."""

    lowers: Sequence[str]
    """Top first."""
    upper: str
    work: str
    merged: str
    """An empty directory to mount at, in the namespace only."""
    mounted: str = ""
    """Where it is mounted on the host; it may not be mounted a second time for writing."""


class Bind(NamedTuple):
    """Something of the host's that the container has."""

    source: str
    destination: str
    readonly: bool


class MissingMountpoints(EngineError):
    """A root that is only read lacks directories to mount on."""


def to_read(layers: Layers, binds: Sequence[Bind]) -> Detached:
    """The container's files, read-only; the writable layer stays free for others to write.

    Raises MissingMountpoints, and EngineError for what the kernel refuses.
    """

    def prepare() -> str:
        if layers.mounted:
            return _again(layers)
        stack = [layers.upper, *layers.lowers]
        overlay.mount_overlay(stack, None, None, layers.merged, readonly=True)
        return layers.merged

    return _Assembly(binds, grow=False, readonly=True).build(prepare)


def to_write(layers: Layers, binds: Sequence[Bind], *, readonly: bool) -> Detached:
    """The container's files, the writable layer on top; nobody else may have that mounted.

    With ``readonly`` only its mounts can be written to. Raises EngineError.
    """

    def prepare() -> str:
        if layers.mounted:
            return _again(layers)
        overlay.mount_overlay(layers.lowers, layers.upper, layers.work, layers.merged)
        return layers.merged

    return _Assembly(binds, grow=True, readonly=readonly).build(prepare)


def _again(layers: Layers) -> str:
    libc.mount(layers.mounted, layers.merged, None, mount.MS_BIND, None)
    return layers.merged


class _Assembly:
    """Puts a root and the mounts in it together."""

    def __init__(self, binds: Sequence[Bind], *, grow: bool, readonly: bool) -> None:
        self._binds = sorted(binds, key=lambda bind: bind.destination.count("/"))
        self._grow = grow
        self._readonly = readonly

    def build(self, prepare: mountns.Prepare) -> Detached:
        with ExitStack() as stack:
            trees = [(self._clone(bind, stack), bind) for bind in self._binds]
            try:
                return mountns.build(prepare, lambda root_fd: self._furnish(root_fd, trees))
            except OSError as error:
                raise EngineError(
                    "cannot put the container's files together", details=str(error)
                ) from error

    def _clone(self, bind: Bind, stack: ExitStack) -> int:
        try:
            fd = fscontext.clone_tree(bind.source, recursive=True)
        except OSError as error:
            raise EngineError(
                f"cannot reach {bind.source}, which the container has at {bind.destination}",
                details=os.strerror(error.errno or errno.EIO),
            ) from None
        stack.callback(os.close, fd)
        if bind.readonly:
            fscontext.set_attributes(fd, fscontext.MOUNT_ATTR_RDONLY, recursive=True)
        return fd

    def _furnish(self, root_fd: int, trees: Sequence[tuple[int, Bind]]) -> None:
        for tree_fd, bind in trees:
            target = self._mountpoint(root_fd, tree_fd, bind)
            try:
                fscontext.attach_to(tree_fd, target)
            finally:
                os.close(target)
        if self._readonly:
            fscontext.set_attributes(root_fd, fscontext.MOUNT_ATTR_RDONLY)

    def _mountpoint(self, root_fd: int, tree_fd: int, bind: Bind) -> int:
        """What to mount on, open; made if it is missing. There is no /proc to ask here."""
        name = bind.destination.lstrip("/")
        try:
            return libc.openat2(root_fd, name, os.O_PATH, resolve=_IN_ROOT)
        except FileNotFoundError:
            if not self._grow:
                raise MissingMountpoints(f"there is no {bind.destination}") from None
        directory = stat.S_ISDIR(os.fstat(tree_fd).st_mode)
        inside.ensure_mountpoint(root_fd, bind.destination, directory=directory)
        return libc.openat2(root_fd, name, os.O_PATH, resolve=_IN_ROOT)
