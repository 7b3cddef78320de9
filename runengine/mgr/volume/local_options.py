"""Options of the drivers ``local`` and ``tmpfs``: what is to be mounted for a volume, if anything.

Sources: Docker CLI reference (``volume create``, driver-specific options), mount(8), tmpfs(5).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCAL, TMPFS = "local", "tmpfs"
MOUNT_KEYS = ("type", "device", "o")
_SIZE_KEYS = ("size", "opt.size")
_KNOWN = (*MOUNT_KEYS, *_SIZE_KEYS, "mount")
_BINDS = frozenset({"bind", "rbind"})
_NO_DEVICE = frozenset({"tmpfs", "ramfs", "overlay"})
"""Filesystems whose device is a mere name."""
_TYPE = re.compile(r"[a-zA-Z0-9_.+-]*")
_DEFAULT_TMPFS = ("noexec", "nosuid", "nodev", "mode=1777")
_DEFAULT_TMPFS_SIZE = "64m"


class Settings(NamedTuple):
    """A local volume as its options make it: a directory, with something mounted on it or not."""

    fstype: str = ""
    """Of what is mounted; empty for a bind."""
    device: str = ""
    """What is mounted; empty where nothing is, and the data is in the volume's own directory."""
    words: tuple[str, ...] = ()
    """Mount options."""
    size_bytes: int = 0
    """Limit of a volume that is a plain directory; 0 for none."""
    host_directory: str = ""
    """A directory of the host's that takes the place of the volume's own."""

    @property
    def is_bind(self) -> bool:
        """Whether it shows a file tree of the host."""
        return bool(_BINDS & set(self.words))


PLAIN = Settings()
"""The settings of most volumes."""


def parse(name: str, driver: str, options: Mapping[str, str]) -> Settings:
    """The settings behind a volume's options. Raises InvalidParameter naming volume and option."""
    if not options and driver == LOCAL:
        return PLAIN
    known = _SIZE_KEYS if driver == TMPFS else _KNOWN
    for key in options:
        if key not in known:
            raise InvalidParameter(
                f"volume {name}: invalid option: {key!r}",
                resolution=f"driver {driver} knows {', '.join(known)}",
            )
    size = _size(name, options)
    if driver == TMPFS:
        words = (*_DEFAULT_TMPFS, f"size={size or _DEFAULT_TMPFS_SIZE}")
        return Settings(TMPFS, TMPFS, words)
    if options.get("mount"):
        return _of_host_directory(name, options)
    if not any(options.get(key) for key in MOUNT_KEYS):
        return Settings(size_bytes=size)
    return _mounted(name, options, size)


def _size(name: str, options: Mapping[str, str]) -> int:
    text = options.get("size") or options.get("opt.size") or ""
    if not text:
        return 0
    from runengine.oci_spec.mounts import parse_size

    size = parse_size(text, f"volume {name}")
    if size <= 0:
        raise InvalidParameter(f"volume {name}: size must be greater than 0")
    return size


def _of_host_directory(name: str, options: Mapping[str, str]) -> Settings:
    if len(options) > 1:
        raise InvalidParameter(f"volume {name}: option mount= goes with no other option")
    path = options["mount"]
    if not path.startswith("/"):
        raise InvalidParameter(f"volume {name}: mount={path} is no absolute path")
    return Settings(host_directory=path)


def _mounted(name: str, options: Mapping[str, str], size: int) -> Settings:
    fstype = options.get("type", "")
    words = tuple(word.strip() for word in options.get("o", "").split(",") if word.strip())
    if not _TYPE.fullmatch(fstype):
        raise InvalidParameter(
            f"volume {name}: invalid type {fstype!r}",
            resolution="give every option a -o of its own: -o type=T -o device=D -o o=WORDS",
        )
    is_bind = bool(_BINDS & set(words))
    device = options.get("device") or (fstype if fstype in _NO_DEVICE else "")
    if not device:
        raise InvalidParameter(f"volume {name}: missing required option: 'device'")
    if not fstype and not is_bind:
        raise InvalidParameter(f"volume {name}: missing required option: 'type'")
    if is_bind and not device.startswith("/"):
        raise InvalidParameter(f"volume {name}: device {device!r} is no absolute path to bind")
    if size and fstype != TMPFS:
        raise InvalidParameter(
            f"volume {name}: size= cannot limit what is mounted from {device}",
            resolution="it goes with type=tmpfs, and with volumes without a device",
        )
    return Settings(
        "" if is_bind else fstype, device, (*words, *((f"size={size}",) if size else ()))
    )
