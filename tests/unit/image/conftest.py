"""Image operations on a scratch root, with images that were put there, not brought."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from runengine.config import defaults
from runengine.mgr.events import Events
from runengine.mgr.image.context import ImageContext
from runengine.model import container_config, host_config
from runengine.store.containers import Record, created_state
from runengine.store.store import Store
from tests.support.stored_images import layer_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runengine.paths import Paths
    from runengine.store.images import StoredImage

    MakeImage = Callable[..., StoredImage]


@pytest.fixture
def context(roots: Paths) -> Iterator[ImageContext]:
    store = Store.open(roots)
    yield ImageContext(defaults(roots), store, Events(roots.journal))
    store.close()


@pytest.fixture(autouse=True)
def _no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about what a disk forgets, and syncing one that is busy takes long."""
    monkeypatch.setattr("os.fsync", lambda _fd: None)
    monkeypatch.setattr("runengine.linux.libc.syncfs", lambda _fd: None)


@pytest.fixture
def make_layer(context: ImageContext) -> Callable[[str], str]:
    """Makes a layer of one file with its blob; returns the blob's digest."""

    def make(word: str) -> str:
        blob = context.content.put(f"blob of {word}".encode())
        if not context.layers.has(layer_key(word)):
            with context.layers.stage() as staging:
                with open(f"{staging.diff}/{word}", "w", encoding="ascii") as file:
                    file.write(word * 5000)
                staging.commit(layer_key(word), tar_bytes=1000 * len(word), blob=blob)
        return blob

    return make


@pytest.fixture
def make_image(context: ImageContext, make_layer: Callable[[str], str]) -> MakeImage:
    """Makes an image of layers named by words; names are normalised."""

    def make(*names: str, layers: tuple[str, ...] = (), **fields: Any) -> StoredImage:
        blobs = [make_layer(word) for word in layers]
        diff_ids = [f"sha256:{layer_key(word)}" for word in layers]
        document = {
            "os": "linux", "architecture": "amd64", "created": "2026-01-01T00:00:00Z",
            "rootfs": {"type": "layers", "diff_ids": diff_ids}, "note": names, **fields,
        }  # fmt: skip
        config = json.dumps(document)
        image_id = context.content.put(config.encode())
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"digest": image_id, "size": len(config)},
            "layers": [{"digest": blob, "size": context.content.size(blob)} for blob in blobs],
        }
        digest = context.content.put(json.dumps(manifest).encode())
        keys = [layer_key(word) for word in layers]
        context.store.images.put_image(
            image_id, digest, config=config, layers=keys,
            size_bytes=sum(context.layers.info(key).tar_bytes for key in keys),
            media_type="application/vnd.oci.image.manifest.v1+json",
        )  # fmt: skip
        for name in names:
            context.store.images.set_name(name, image_id, digest)
        image = context.store.images.get_image(image_id)
        assert image is not None
        return image

    return make


@pytest.fixture
def use(context: ImageContext) -> Callable[..., Record]:
    """Makes a container of an image."""

    def make(image: StoredImage, name: str = "box", status: str = "exited") -> Record:
        record = Record(
            hashlib.sha256(name.encode()).hexdigest(), name, image.image_id,
            "2026-01-01T00:00:00Z", container_config(), host_config(), {}, image.layers,
            {**created_state(), "Status": status},
        )  # fmt: skip
        context.store.containers.add(record)
        return record

    return make
