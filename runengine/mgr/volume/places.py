"""Places within a volume: what is mounted of it when it is not its root."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter, NotFound
from runengine.linux import libc

if TYPE_CHECKING:
    from runengine.oci_spec.volume_mounts import VolumeWish

_IN_ROOT = libc.RESOLVE_IN_ROOT | libc.RESOLVE_NO_MAGICLINKS


def open_place(root: str, wish: VolumeWish, destination: str) -> int:
    """An O_PATH descriptor of what a mount shows of the volume whose data is at ``root``.

    The kernel resolves the name within the volume, so that no link in it leads outside, whoever
    changes it meanwhile; the caller mounts the descriptor, not the name. Raises InvalidParameter,
    NotFound (subpath).
    """
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if wish.replace:
            return _made(fd, _replacing(wish.replace, destination), wish.name)
        return _existing(fd, wish.subpath, wish.name)
    finally:
        os.close(fd)


def _replacing(mode: str, destination: str) -> str:
    """The directory of the modes ``dr`` and ``rr``."""
    return destination.lstrip("/") if mode == "dr" else os.urandom(16).hex()


def _existing(fd: int, subpath: str, name: str) -> int:
    try:
        return libc.openat2(fd, subpath, os.O_PATH, resolve=_IN_ROOT)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise NotFound(
                f"subpath {subpath!r} is not in volume {name}",
                resolution="it must be there before the volume is mounted",
            ) from None
        raise InvalidParameter(
            f"subpath {subpath!r} of volume {name}: {error.strerror}"
        ) from None


def _made(fd: int, path: str, name: str) -> int:
    from runengine.rootfs import inside

    try:
        real = inside.ensure_directory(fd, path)
    except InvalidParameter:
        raise InvalidParameter(f"{path!r} in volume {name} is not a directory") from None
    return libc.openat2(
        fd, real.lstrip("/"), os.O_PATH | os.O_DIRECTORY, resolve=libc.RESOLVE_BENEATH
    )


def is_directory(fd: int) -> bool:
    """Whether an open place is a directory."""
    return stat.S_ISDIR(os.fstat(fd).st_mode)
