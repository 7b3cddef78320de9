"""umoci, the reference for what an image's root filesystem is, and our own way to get it."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runengine.rootfs.overlay import mount_overlay, unmount
from runengine.rootfs.unpack import complete_layer, unpack_layer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def run(*words: str | Path) -> str:
    """Run a program that must succeed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{words}: {done.stdout}{done.stderr}")
    return done.stdout


def new_layout(path: Path, *layers: bytes) -> Path:
    """An OCI layout with one image, tag ``t``, of these archives (bottom first)."""
    run("umoci", "init", "--layout", path)
    run("umoci", "new", "--image", f"{path}:t")
    for number, data in enumerate(layers):
        file = path.parent / f"{path.name}-{number}.tar"
        file.write_bytes(data)
        run("umoci", "raw", "add-layer", "--image", f"{path}:t", file)
    return path


def reference(layout: Path, target: Path, tag: str = "t") -> Path:
    """What umoci makes of the image."""
    run("umoci", "raw", "unpack", "--image", f"{layout}:{tag}", target)
    return target


@contextmanager
def ours(layout: Path, work: Path) -> Iterator[Path]:
    """What we make of the only image in the layout."""
    lowers: list[str] = []
    for number, (blob, diff_id) in enumerate(_layers(layout)):
        path = work / f"layer{number}"
        path.mkdir(parents=True)
        with blob.open("rb") as file:
            done = unpack_layer(file, str(path))
        assert done.diff_id == diff_id
        complete_layer(str(path), done, lowers)
        lowers.insert(0, str(path))
    merged = work / "merged"
    merged.mkdir()
    mount_overlay(lowers, None, None, str(merged), readonly=True)
    try:
        yield merged
    finally:
        unmount(str(merged))


def _layers(layout: Path) -> Iterator[tuple[Path, str]]:
    """Blob and diff id of every layer, bottom first."""
    index = json.loads((layout / "index.json").read_bytes())
    manifest = _document(layout, index["manifests"][0]["digest"])
    config = _document(layout, manifest["config"]["digest"])
    pairs = zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True)
    for layer, diff_id in pairs:
        yield _blob(layout, layer["digest"]), diff_id


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")


def _document(layout: Path, digest: str) -> dict:
    document: dict = json.loads(_blob(layout, digest).read_bytes())
    return document
