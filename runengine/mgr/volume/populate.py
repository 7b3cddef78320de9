"""Copy-up: an empty volume gets what the image has at its place, once.

A note beside the volumes says that a copy is under way. Found by the next one, it tells of a copy
that was cut short: what is there then is no data of anybody's, and is copied anew.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter, Unavailable
from runengine.linux import libc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.volume.context import VolumeContext
    from runengine.rootfs.copytree import Owners
    from runengine.store.volumes import Volume

_IN_ROOT = libc.RESOLVE_IN_ROOT | libc.RESOLVE_NO_MAGICLINKS
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_OF_NEW_FILESYSTEMS = frozenset({"lost+found"})


def populate(
    context: VolumeContext,
    volume: Volume,
    target: str,
    rootfs: str,
    destination: str,
    owners: Owners | None = None,
) -> None:
    """Copy what ``rootfs`` has at ``destination`` to ``target`` in the volume if that is empty.

    ``rootfs`` is mounted and nothing runs in it. Raises InvalidParameter if a file is in the way,
    Unavailable if the volume cannot take it.
    """
    note = _note(context, volume.name)
    if not os.path.lexists(note) and not _is_empty(target):
        return
    source = _open_in_image(rootfs, destination)
    if source is None:
        return
    try:
        with context.locked(volume.name):
            _copy(context, volume, source, target, note, owners)
    except OSError as error:
        raise Unavailable(
            f"cannot copy {destination} of the image to volume {volume.name}: {error.strerror}",
            resolution="make room and start again, or mount it with nocopy",
        ) from None
    finally:
        os.close(source)


def forget(context: VolumeContext, name: str) -> None:
    """The volume goes, and with it what half a copy has left."""
    with suppress(OSError):
        os.unlink(_note(context, name))


def _note(context: VolumeContext, name: str) -> str:
    return f"{context.root}/.copying-{name}"


def _open_in_image(rootfs: str, destination: str) -> int | None:
    """The image's directory there, links followed inside the root by the kernel."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return libc.openat2(root, destination.lstrip("/"), _DIRECTORY, resolve=_IN_ROOT)
    except OSError as error:
        if error.errno == errno.ENOTDIR:
            _refuse_file(root, destination)
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None  # the runtime makes it, or says what is in the way
        raise
    finally:
        os.close(root)


def _refuse_file(root: int, destination: str) -> None:
    with suppress(OSError):
        fd = libc.openat2(root, destination.lstrip("/"), os.O_PATH, resolve=_IN_ROOT)
        is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
        os.close(fd)
        if not is_directory:
            raise InvalidParameter(
                f"cannot mount volume over existing file, file exists {destination} in the image"
            )


def _copy(
    context: VolumeContext,
    volume: Volume,
    source: int,
    target: str,
    note: str,
    owners: Owners | None,
) -> None:
    from runengine.rootfs import copytree

    fd = os.open(target, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.path.lexists(note):
            _clear_unless_used(context, volume, target)
        if not _is_empty(target):  # somebody else was first
            with suppress(FileNotFoundError):
                os.unlink(note)
            return
        if not os.listdir(source):
            copytree.copy_look(source, fd, owners or copytree.same)
            return
        with _noted(note):
            copytree.copy_contents(source, fd, owners or copytree.same)
    finally:
        os.close(fd)


@contextmanager
def _noted(note: str) -> Iterator[None]:
    """The note goes with the end of the copy only: one that failed is done again."""
    os.makedirs(os.path.dirname(note), mode=0o711, exist_ok=True)
    os.close(os.open(note, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    yield
    os.unlink(note)


def _clear_unless_used(context: VolumeContext, volume: Volume, target: str) -> None:
    """Throw half a copy away; not if a container runs with it, whose data it may be by now."""
    from runengine.rootfs.walk import remove_tree

    others = context.store.volumes.users(volume.name)
    if sum(context.is_busy(container_id) for container_id in others) > 1:  # the one is starting
        return
    for name in os.listdir(target):
        if name not in _OF_NEW_FILESYSTEMS:
            remove_tree(f"{target}/{name}")


def _is_empty(path: str) -> bool:
    """As it was made: an ext4 filesystem has its directory of lost files from the beginning."""
    with os.scandir(path) as entries:
        return all(entry.name in _OF_NEW_FILESYSTEMS for entry in entries)
