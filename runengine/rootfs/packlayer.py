"""A writable layer as an image's: what it changes, with whiteouts (image-spec, layer.md)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runengine.errors import Conflict
from runengine.rootfs.changes import DELETED
from runengine.rootfs.pack import LAYER, Packer
from runengine.rootfs.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.rootfs.changes import Change
    from runengine.rootfs.pack import Sink

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"


def pack_layer(upper: str, changes: Iterable[Change], sink: Sink) -> None:
    """Write the changes that ``changes_of`` found in ``upper`` as a layer's archive.

    The root directory itself comes first. Raises Conflict for a name that would be read as a
    whiteout, OSError.
    """
    root = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    tree = Tree(root)
    packer = Packer(sink, LAYER)
    try:
        packer.add(root, ".", "")
        for change in changes:
            folder, _, base = change.path.rpartition("/")
            if change.kind == DELETED:
                if not change.is_implied:
                    packer.empty(f"{folder}/{WHITEOUT}{base}".lstrip("/"))
                continue
            if base.startswith(WHITEOUT):
                raise Conflict(
                    f"/{change.path} cannot be in an image: its name means a deletion there",
                    resolution="rename or remove it",
                )
            parent = tree.directory(folder)
            packer.add(parent.fd, base, change.path, is_file=change.is_file)
            if change.is_opaque:
                packer.empty(f"{change.path}/{OPAQUE}")
        packer.finish()
    finally:
        tree.close()
        os.close(root)
