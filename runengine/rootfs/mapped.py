"""Mounts that show the owners of files as a user namespace maps them (mount_setattr(2)).

Nothing on the disk is changed: a layer stays one tree for every container, and the writable layer
has the ids that its container sees.
"""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING, NoReturn

from runengine.errors import EngineError, Unsupported
from runengine.linux import fscontext, libc, mount
from runengine.rootfs.overlay import mount_overlay

if TYPE_CHECKING:
    from collections.abc import Sequence

_CLONE_NEWNS = 0x20000


def mount_mapped_overlay(
    lowers: Sequence[str],
    data_dir: str,
    merged: str,
    *,
    layers_fd: int,
    writable_fd: int,
    label: str = "",
) -> None:
    """As ``overlay.mount_overlay``, with ``upper`` and ``work`` in ``data_dir``, owners mapped.

    ``layers_fd`` and ``writable_fd`` are the user namespaces that map those of the layers below
    and of the writable one. The second must also map the caller's own ids, as overlayfs works
    with them in its work directory. Raises Unsupported if a filesystem cannot do it.

    An overlay shows no mapped owners, but its layers may be mounts that do. These are made over
    the very directories, in a mount namespace that goes with the thread that makes it: the
    overlay keeps copies of them, and whoever is killed here leaves nothing.
    """
    made: list[int] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            libc.unshare(_CLONE_NEWNS)
            libc.mount("none", "/", None, mount.MS_REC | mount.MS_PRIVATE, None)
            for path in dict.fromkeys(lowers):
                _map_in_place(path, layers_fd)
            _map_in_place(data_dir, writable_fd)
            upper, work_dir = f"{data_dir}/upper", f"{data_dir}/work"
            mount_overlay(lowers, upper, work_dir, merged, label=label)
            made.append(fscontext.clone_tree(merged))
        except BaseException as error:  # noqa: BLE001  it is raised again where it is awaited
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    try:
        _attach(made[0], merged)
    finally:
        os.close(made[0])


def _map_in_place(path: str, userns_fd: int) -> None:
    fd = fscontext.clone_tree(path)
    try:
        fscontext.set_idmap(fd, userns_fd)
        fscontext.attach(fd, path)
    except OSError as error:
        _explain(error, path)
    finally:
        os.close(fd)


def _explain(error: OSError, path: str) -> NoReturn:
    brief = f"cannot map the owners of files in {path}"
    if error.errno in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        raise Unsupported(
            brief,
            details="its filesystem, or this kernel, has no mounts that map ids",
            resolution="ext4, xfs, btrfs and tmpfs do, in recent kernels",
        ) from error
    raise EngineError(brief, details=error.strerror) from error


def _attach(fd: int, target: str) -> None:
    fscontext.attach(fd, target)
    # All of it: else what is unmounted here goes away where it came from, too.
    fscontext.set_propagation(fd, mount.MS_PRIVATE, recursive=True)


def bind(
    source: str, target: str, userns_fd: int | None = None, *, recursive: bool = True
) -> None:
    """Show ``source`` at ``target`` too, with owners as the user namespace maps them, if any.

    Raises Unsupported if a filesystem of it cannot.
    """
    fd = fscontext.clone_tree(source, recursive=recursive)
    try:
        if userns_fd is not None:
            fscontext.set_idmap(fd, userns_fd, recursive=recursive)
        _attach(fd, target)
    except OSError as error:
        _explain(error, source)
    finally:
        os.close(fd)
