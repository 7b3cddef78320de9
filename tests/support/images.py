"""An image manager on directories of its own, archives to load, and what is left on disk."""

from __future__ import annotations

import io
import json
import os
import tarfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runengine import config
from runengine.mgr.events import Events
from runengine.mgr.image.manager import ImageMgr
from runengine.store.store import Store
from tests.support.layouts import Layout, digest_of, tar_of
from tests.support.tars import archive, directory, link, member

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runengine.paths import Paths

ONE = tar_of({"one": b"1" * 3000})
TWO = tar_of({"two": b"2" * 3000})
"""Layers of one file each."""


@contextmanager
def image_mgr(paths: Paths, **settings: Any) -> Iterator[ImageMgr]:
    """An image manager; its store is closed afterwards."""
    store = Store.open(paths)
    try:
        chosen = config.defaults(paths)._replace(**settings)
        yield ImageMgr(chosen, store, Events(paths.journal))
    finally:
        store.close()


def residue(paths: Paths) -> set[str]:
    """Blobs, layers and whatever else images have left, below the root and not inside layers."""
    found = set()
    for folder in ("blobs/sha256", "blobs/partial", "layers", "layers/staging", "pulls"):
        path = f"{paths.root}/{folder}"
        if os.path.isdir(path):
            found |= {f"{folder}/{name}" for name in os.listdir(path) if name != "staging"}
    return found


def tar_stream(files: dict[str, bytes], links: dict[str, str] | None = None) -> io.BytesIO:
    """An archive of files in this order, then of symbolic links."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return io.BytesIO(out.getvalue())


def image_config(*layers: bytes, **fields: Any) -> bytes:
    """An image config for these plain layer tars."""
    rootfs = {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs} | fields).encode()


def docker_files(
    *layers: bytes, tags: tuple[str, ...] = ("app:1",), **entry: Any
) -> dict[str, bytes]:
    """The members of a ``docker save`` archive in today's order: manifest last."""
    document = image_config(*layers)
    names = [f"layer{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": list(tags), "Layers": names} | entry]
    return {
        **dict(zip(names, layers, strict=True)),
        "config.json": document,
        "manifest.json": json.dumps(manifest).encode(),
    }


def layout_files(layout: Layout) -> dict[str, bytes]:
    """The members of an OCI layout's archive, blobs first."""
    index = {"schemaVersion": 2, "manifests": layout.tagged}
    return {
        **{f"blobs/sha256/{digest[7:]}": data for digest, data in layout.blobs.items()},
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps(index).encode(),
    }


def read_layers(images: ImageMgr, name: str) -> dict[str, bytes]:
    """Regular files of an image by path, upper layers over lower ones; no whiteouts."""
    found: dict[str, bytes] = {}
    for root in images.layer_paths(images.lookup(name).layers):
        for folder, _, files in os.walk(root):
            for file in files:
                path = os.path.join(folder, file)
                if os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as stream:
                        found[os.path.relpath(path, root)] = stream.read()
    return found


def needy_layers() -> tuple[bytes, bytes]:
    """A layer, and one with a hard link into it and with parents that it does not list."""
    lower = archive(directory("d", mode=0o2750, uid=7), member("d/target", b"shared"))
    upper = archive(link("d/other", "d/target"), member("d/new", b"n"))
    return lower, upper


class Lines:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.layers: list[tuple[str, str, int, int | None]] = []

    def layer(self, key: str, status: str, current: int, total: int | None) -> None:
        self.layers.append((key, status, current, total))

    def line(self, text: str) -> None:
        self.lines.append(text)

    def statuses(self) -> set[str]:
        return {status for _, status, _, _ in self.layers}


def snapshot(root: Path) -> dict[str, int]:
    """Every path outside of the engine's roots that a hostile archive may aim at."""
    return {str(path): path.lstat().st_mtime_ns for path in root.rglob("*")}
