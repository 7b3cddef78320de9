"""The place where ``mount`` shows a container's files, for all who must mind it."""

from __future__ import annotations

import os
from contextlib import suppress

from runengine.linux import libc, mount

_NAME = "mounted"


def place(data_dir: str) -> str:
    """Where the files are shown, if they are."""
    return f"{data_dir}/{_NAME}"


def is_shown(data_dir: str) -> bool:
    """Whether they are. The directory is there no longer than that, but for a reboot."""
    return os.path.isdir(place(data_dir)) and mount.is_mounted(place(data_dir))


def bind(source: str, target: str) -> None:
    """Have the same mount in a second place. Raises OSError."""
    libc.mount(source, target, None, mount.MS_BIND, None)
    libc.mount("none", target, None, mount.MS_PRIVATE, None)


def share(data_dir: str, merged: str) -> bool:
    """Let a start have what is shown as its root; False if nothing is.

    Two mounts of one writable layer would spoil it.
    """
    shown = is_shown(data_dir)
    if shown:
        bind(place(data_dir), merged)
    return shown


def let_go(data_dir: str) -> bool:
    """Show them no more; False if they were not. Raises Conflict naming who uses them."""
    target = place(data_dir)
    if not os.path.isdir(target):
        return False
    from runengine.rootfs.overlay import unmount

    shown = unmount(target)
    with suppress(FileNotFoundError):
        os.rmdir(target)
    return shown
