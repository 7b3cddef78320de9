"""OCI image layouts written by hand: small, and as wrong as a test wants them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

from runengine.oci_spec import media_types

if TYPE_CHECKING:
    from pathlib import Path


def digest_of(data: bytes) -> str:
    """``sha256:<hex>``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(files: dict[str, bytes]) -> bytes:
    """A plain tar with these regular files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


class Layout:
    """Blobs, and an index of what was tagged."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.tagged: list[dict[str, Any]] = []

    def add(self, data: bytes, media_type: str) -> dict[str, Any]:
        """Keep a blob; returns its descriptor."""
        digest = digest_of(data)
        self.blobs[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def image(
        self,
        *layers: dict[str, bytes],
        platform: str = "linux/amd64",
        docker: bool = False,
        config: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """An image of these layers (name → content); returns its manifest's descriptor."""
        system, architecture, *variant = platform.split("/")
        tars = [tar_of(files) for files in layers]
        document = {
            "architecture": architecture,
            "os": system,
            **({"variant": variant[0]} if variant else {}),
            "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
        }
        layer_type = (
            f"{media_types.DOCKER_LAYER}.gzip" if docker else f"{media_types.OCI_LAYER}+gzip"
        )
        config_type = media_types.DOCKER_CONFIG if docker else media_types.OCI_CONFIG
        manifest_type = media_types.DOCKER_MANIFEST if docker else media_types.OCI_MANIFEST
        manifest = {
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": self.add(json.dumps(document).encode(), config_type),
            "layers": [self.add(gzip.compress(tar, mtime=0), layer_type) for tar in tars],
        }
        return self.add(json.dumps(manifest).encode(), manifest_type)

    def index(self, **by_platform: dict[str, Any]) -> dict[str, Any]:
        """An index of manifests; keys are platforms with ``_`` for ``/``."""
        manifests = []
        for key, descriptor in by_platform.items():
            system, architecture, *variant = key.split("_")
            platform = {"os": system, "architecture": architecture}
            if variant:
                platform["variant"] = variant[0]
            manifests.append({**descriptor, "platform": platform})
        document = {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "manifests": manifests,
        }
        return self.add(json.dumps(document).encode(), media_types.OCI_INDEX)

    def tag(self, name: str, descriptor: dict[str, Any]) -> None:
        """Name an image in the layout's ``index.json``."""
        annotations = {"org.opencontainers.image.ref.name": name}
        self.tagged.append({**descriptor, "annotations": annotations})

    def write(self, directory: Path) -> Path:
        """Write the layout to disk (image-spec, image-layout.md)."""
        blobs = directory / "blobs/sha256"
        blobs.mkdir(parents=True)
        for digest, data in self.blobs.items():
            (blobs / digest.partition(":")[2]).write_bytes(data)
        (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        index = {"schemaVersion": 2, "manifests": self.tagged}
        (directory / "index.json").write_text(json.dumps(index))
        return directory
