"""``save``: images as one tar that is an OCI layout and an archive of ``docker save`` at once.

Both formats say by file names where a blob is, so both lists of images can name the same blobs:
``index.json`` (image-spec, image-layout.md) for whoever reads layouts, ``manifest.json`` for
Docker, Podman and skopeo's ``docker-archive:``. Blobs go out as they are stored, each once, copied
by the kernel; equal images give equal archives.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import Corrupt, EngineError, InvalidParameter, NotFound, Unsupported
from runengine.ids import hex_of
from runengine.mgr.image import garbage, naming, savenames
from runengine.mgr.image.context import note
from runengine.oci_spec import media_types
from runengine.oci_spec.annotations import FULL_NAME, REF_NAME
from runengine.rootfs import packheader
from runengine.rootfs.pack import BLOCK
from runengine.rootfs.sink import FileSink

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runengine.mgr.image.context import ImageContext
    from runengine.mgr.image.savenames import Chosen

BOTH, DOCKER_ARCHIVE, OCI_ARCHIVE = "", "docker-archive", "oci-archive"
FORMATS = (DOCKER_ARCHIVE, OCI_ARCHIVE)
MANIFEST_LIMIT_BYTES = 16 << 20
_MODE = 0o644
_FOLDER_MODE = 0o755


class Saved(NamedTuple):
    """An image in the archive."""

    chosen: Chosen
    manifest: bytes
    descriptor: dict[str, Any]  # of the manifest
    config: str  # digest
    layers: list[str]  # digests of blobs, bottom first

    @property
    def blobs(self) -> list[str]:
        """Digests of what must be in the content store."""
        return [self.config, *self.layers]


def save(
    context: ImageContext,
    names: Sequence[str],
    target: int,
    *,
    form: str = BOTH,
    platform: str | None = None,
) -> None:
    """Write the images to the open file ``target``.

    ``names`` are names, of which a repository alone stands for all its tags, or ids. ``form`` is
    one of FORMATS, or both at once. Raises NotFound, InvalidParameter, Unsupported, OSError.
    """
    began_ns = time.monotonic_ns()
    if form not in (BOTH, *FORMATS):
        raise _unknown_form(form)
    with garbage.in_use(context.paths):
        chosen = savenames.choose(context.store.images, names, platform)
        images = [_look_up(context, each, oci=form == OCI_ARCHIVE) for each in chosen]
        _check_blobs(context, images)
        writer = _Writer(target)
        _write_documents(writer, images, form)
        _write_blobs(context, writer, images)
        writer.finish()
    for each in chosen:
        shown = [naming.familiar(name) for name in each.tags] or [each.image.image_id]
        note(context, "save", each.image.image_id, shown, began_ns=began_ns)


def _unknown_form(form: str) -> EngineError:
    if form in ("oci-dir", "docker-dir"):
        return Unsupported(
            f"--format {form} is not supported",
            resolution="save an oci-archive and unpack it: tar -x gives the directory",
        )
    return InvalidParameter(
        f"unknown format {form!r}", resolution=f"use {' or '.join(FORMATS)}, or none for both"
    )


def _look_up(context: ImageContext, chosen: Chosen, *, oci: bool) -> Saved:
    data, kind = _manifest(context, chosen)
    if oci and media_types.as_oci(kind) != kind:
        data, kind = _as_oci(data), media_types.as_oci(kind)
    document = json.loads(data)
    descriptor = {
        "mediaType": kind,
        "digest": _digest(data),
        "size": len(data),
    }
    layers = [str(entry["digest"]) for entry in document["layers"]]
    return Saved(chosen, data, descriptor, str(document["config"]["digest"]), layers)


def _manifest(context: ImageContext, chosen: Chosen) -> tuple[bytes, str]:
    """The manifest behind the name, and its media type; the image's where that is an index."""
    image = chosen.image
    for digest in (chosen.manifest_digest, image.manifest_digest):
        if not context.content.has(digest):
            continue
        data = context.content.read(digest, MANIFEST_LIMIT_BYTES)
        try:
            document = json.loads(data)
        except ValueError:
            continue
        if _is_whole(document) and document["config"].get("digest") == image.image_id:
            return data, document.get("mediaType") or image.media_type
    raise NotFound(
        f"the manifest of image {chosen.shown} is not stored", resolution="pull or load it again"
    )


def _is_whole(document: Any) -> bool:
    """Whether a stored document is a manifest still: an index is none, and blobs get damaged."""
    if not isinstance(document, dict) or not isinstance(document.get("layers"), list):
        return False
    entries = [document.get("config"), *document["layers"]]
    return all(isinstance(entry, dict) and "digest" in entry for entry in entries)


def _digest(data: bytes) -> str:
    import hashlib

    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _as_oci(data: bytes) -> bytes:
    """Docker's manifest with the media types of the image-spec; blobs stay what they are."""
    document = json.loads(data)
    for entry in (document, document["config"], *document["layers"]):
        entry["mediaType"] = media_types.as_oci(entry.get("mediaType", ""))
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _check_blobs(context: ImageContext, images: Iterable[Saved]) -> None:
    """Before the first byte is written."""
    for image in images:
        for digest in image.blobs:
            if not context.content.has(digest):
                raise NotFound(
                    f"a blob of image {image.chosen.shown} is not stored: {digest}",
                    resolution="pull or load the image again",
                )


def _write_documents(writer: _Writer, images: Sequence[Saved], form: str) -> None:
    if form != DOCKER_ARCHIVE:
        writer.file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        writer.file("index.json", _json(_index(images, full_names=form == OCI_ARCHIVE)))
    if form != OCI_ARCHIVE:
        writer.file("manifest.json", _json(_docker_manifest(images)))
    writer.folder("blobs/")
    writer.folder("blobs/sha256/")
    if form != DOCKER_ARCHIVE:
        for digest, data in {str(i.descriptor["digest"]): i.manifest for i in images}.items():
            writer.file(_path(digest), data)


def _write_blobs(context: ImageContext, writer: _Writer, images: Sequence[Saved]) -> None:
    """Configs before layers, so that who reads a stream knows what comes."""
    configs = [image.config for image in images]
    layers = [digest for image in images for digest in image.layers]
    for digest in dict.fromkeys((*configs, *layers)):
        writer.blob(_path(digest), context.content.path(digest))


def _json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _path(digest: str) -> str:
    return f"blobs/sha256/{hex_of(digest)}"


def _docker_manifest(images: Sequence[Saved]) -> list[dict[str, Any]]:
    """One entry for each image, with all its names."""
    tags: dict[str, list[str]] = {}
    for image in images:
        shown = [naming.familiar(name) for name in image.chosen.tags]
        tags.setdefault(image.config, []).extend(shown)
    first = {image.config: image for image in reversed(images)}
    return [
        {
            "Config": _path(config),
            "RepoTags": names or None,
            "Layers": [_path(digest) for digest in first[config].layers],
        }
        for config, names in tags.items()
    ]


def _index(images: Sequence[Saved], *, full_names: bool) -> dict[str, Any]:
    """One entry for each name, and for each image without.

    As Docker writes it: the tag for readers of layouts, the full name beside it. Where two images
    have the same tag, or the archive has no other place for names, it is full in both.
    """
    names = [name for image in images for name in image.chosen.tags]
    tags = [name.rpartition(":")[2] for name in names]
    entries = []
    for image in images:
        for name in image.chosen.tags:
            tag = name.rpartition(":")[2]
            ambiguous = full_names or tags.count(tag) > 1
            annotations = {FULL_NAME: name, REF_NAME: name if ambiguous else tag}
            entries.append({**image.descriptor, "annotations": annotations})
        if not image.chosen.tags:
            entries.append(image.descriptor)
    return {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": entries}


class _Writer:
    """Members of the archive, owned by root and without a time. Methods raise OSError."""

    def __init__(self, target: int) -> None:
        self._sink = FileSink(target)

    def folder(self, name: str) -> None:
        """A directory."""
        self._sink.write(
            packheader.build(packheader.Fields(name.encode(), _FOLDER_MODE, kind=b"5"))
        )

    def file(self, name: str, data: bytes) -> None:
        """A file of these bytes."""
        self._head(name, len(data))
        self._sink.write(data + bytes(-len(data) % BLOCK))

    def blob(self, name: str, path: str) -> None:
        """A file of the content store. Raises Corrupt where it is shorter than it was."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            self._head(name, size)
            self._sink.copy(fd, size)
            if os.lseek(fd, 0, os.SEEK_CUR) != size:
                raise Corrupt(f"{path} was cut short while it was read")
        finally:
            os.close(fd)
        self._sink.write(bytes(-size % BLOCK))

    def finish(self) -> None:
        """The end of the archive."""
        self._sink.write(bytes(2 * BLOCK))
        self._sink.flush()

    def _head(self, name: str, size: int) -> None:
        self._sink.write(packheader.build(packheader.Fields(name.encode(), _MODE, size=size)))
