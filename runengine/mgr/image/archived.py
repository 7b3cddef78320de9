"""The images that an archive names: as Docker, as the image-spec or as a ``dir:`` of skopeo does.

All of it comes from strangers: every document goes through the models of ``oci_spec.image``, and
nothing is taken for a layer of an image that does not hash to what its config says.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import Corrupt, EngineError, Unsupported
from runengine.ids import DiffID, Digest, hex_of
from runengine.mgr.image import naming
from runengine.mgr.image.arrival import check_stackable
from runengine.oci_spec import image, media_types
from runengine.oci_spec.annotations import FULL_NAME, REF_NAME
from runengine.registry import platform as platforms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runengine.mgr.image.intake import Taken
    from runengine.mgr.image.unarchive import Unarchived
    from runengine.oci_spec.image import Descriptor, ImageConfig, Index
    from runengine.registry.platform import Platform

INDEX_DEPTH_LIMIT = 4
IMAGES_LIMIT = 1000


class Found(NamedTuple):
    """An image in an archive."""

    config: bytes
    image_id: Digest
    diff_ids: list[DiffID]
    layers: list[Taken]
    manifest: bytes | None  # None: a docker archive, which has none
    manifest_type: str
    names: list[str]  # normalised


def images_of(
    content: Unarchived, platform: Platform | None, repository: str | None
) -> Iterator[Found]:
    """Every image of the archive. A docker manifest comes first: it has the names."""
    if content.has_document("manifest.json"):
        data = content.document("manifest.json")
        if data.lstrip()[:1] == b"{":
            yield _flat_image(content, data)
        else:
            yield from _docker_images(content, data, platform)
    elif content.has_document("index.json"):
        yield from _layout_images(content, platform, repository)
    elif content.has_document("repositories"):
        raise Unsupported(
            "the archive has Docker's format of before 2016",
            resolution="load it with an old Docker and save it anew",
        )
    else:
        content.document("manifest.json or index.json")


def _docker_images(
    content: Unarchived, manifest: bytes, platform: Platform | None
) -> Iterator[Found]:
    manifests = _manifests(content)
    for position, entry in enumerate(_docker_entries(manifest)):
        name = f"image {position + 1} of the archive's manifest.json"
        config_path, layer_paths, tags = _docker_entry(entry, name)
        data = content.document(config_path)
        config = image.parse_config(data, name=f"the config of {name}")
        own = platforms.normalised(config.os, config.architecture, config.variant)
        if platform is not None and not platforms.matches(platform, own):
            continue
        layers = [content.layer(path) for path in layer_paths]
        names = [str(naming.target(tag)) for tag in tags]
        found = _found(data, config, layers, name, names)
        yield _with_manifest(found, manifests)


def _manifests(content: Unarchived) -> dict[str, tuple[bytes, str]]:
    """Manifests and their types by config, of an archive that is an OCI layout as well.

    They are an addition: what cannot be used is as good as not there.
    """
    found: dict[str, tuple[bytes, str]] = {}
    try:
        index = image.parse_index(content.document("index.json"))
    except EngineError:
        return found
    for entry in index.manifests[:IMAGES_LIMIT]:
        try:
            data = content.document(_blob_path(entry.digest))
            kind = image.document_type(data, entry.media_type)
            if kind in media_types.MANIFESTS:
                found[image.parse_manifest(data).config.digest] = data, kind
        except EngineError:
            continue
    return found


def _with_manifest(found: Found, manifests: dict[str, tuple[bytes, str]]) -> Found:
    """The image with its own manifest, so that it keeps its digest, if that names its layers."""
    if found.image_id not in manifests:
        return found
    data, kind = manifests[found.image_id]
    named = [(layer.digest, layer.size) for layer in image.parse_manifest(data).layers]
    if named != [(taken.digest, taken.size) for taken in found.layers]:
        return found
    return found._replace(manifest=data, manifest_type=kind)


def _flat_image(content: Unarchived, data: bytes) -> Found:
    """The image of skopeo's ``dir:``: blobs by their hex digest beside its manifest."""
    kind = image.document_type(data, name="the archive's manifest.json")
    return _image_by_manifest(content, data, kind, [], hex_of)


def _docker_entries(data: bytes) -> list[Any]:
    image.check_json_cost(data, image.MANIFEST_LIMIT_BYTES, "the archive's manifest.json")
    try:
        entries = json.loads(data)
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, list) or not entries or len(entries) > IMAGES_LIMIT:
        raise Corrupt("the archive's manifest.json is not a list of images")
    return entries


def _docker_entry(entry: Any, name: str) -> tuple[str, list[str], list[str]]:
    fields = entry if isinstance(entry, dict) else {}
    config, layers, tags = fields.get("Config"), fields.get("Layers") or [], fields.get("RepoTags")
    if not isinstance(config, str) or not _are_texts(layers) or not _are_texts(tags or []):
        raise Corrupt(f"{name} is malformed", details="it needs Config, Layers and RepoTags")
    from runengine.mgr.image.archive import normalised

    return normalised(config), [normalised(path) for path in layers], tags or []


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _found(
    data: bytes, config: ImageConfig, layers: list[Taken], name: str, names: list[str]
) -> Found:
    import hashlib

    check_stackable(len(layers), name)
    _check_layers(layers, list(config.rootfs.diff_ids), name)
    image_id = Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")
    diff_ids = list(config.rootfs.diff_ids)
    return Found(data, image_id, diff_ids, layers, None, media_types.OCI_MANIFEST, names)


def _check_layers(layers: list[Taken], diff_ids: list[DiffID], name: str) -> None:
    """Layers that were in the content store before are checked when they are unpacked."""
    if len(layers) != len(diff_ids):
        raise Corrupt(f"{name} has {len(layers)} layers but its config {len(diff_ids)} diff ids")
    for taken, diff_id in zip(layers, diff_ids, strict=True):
        if taken.diff_id not in (None, diff_id):
            raise Corrupt(
                f"{name} has a layer that is not what its config says",
                details=f"its diff id is {taken.diff_id} instead of {diff_id}",
            )


def _layout_images(
    content: Unarchived, platform: Platform | None, repository: str | None
) -> Iterator[Found]:
    index = image.parse_index(content.document("index.json"), name="the archive's index.json")
    for named, entries in _by_name(index).items():
        for entry in _fitting(entries, platform, named):
            data, kind = _manifest_of(content, entry, platform, named)
            yield _layout_image(content, data, kind, _layout_names(named, entry, repository))


def _by_name(index: Index) -> dict[str, list[Descriptor]]:
    """Entries by the name that they share: a name may have one entry per platform.

    Attestations, of the platform ``unknown``, are no images.
    """
    groups: dict[str, list[Descriptor]] = {}
    for entry in index.manifests[:IMAGES_LIMIT]:
        if entry.platform is not None and entry.platform.os == "unknown":
            continue
        annotations = entry.annotations or {}
        named = annotations.get(FULL_NAME) or annotations.get(REF_NAME) or ""
        groups.setdefault(named, []).append(entry)
    return groups


def _fitting(entries: list[Descriptor], platform: Platform | None, named: str) -> list[Descriptor]:
    """All entries, but one of those that differ only by platform."""
    by_platform = [entry for entry in entries if entry.platform is not None]
    others = [entry for entry in entries if entry.platform is None]
    if len(by_platform) <= 1 and platform is None:
        return entries
    if not by_platform:
        return others
    group = image.Index(manifests=by_platform)
    wanted = platform or platforms.native()
    return [*others, platforms.select(group, wanted, name=f"image {named or 'of the archive'}")]


def _manifest_of(
    content: Unarchived, entry: Descriptor, platform: Platform | None, named: str
) -> tuple[bytes, str]:
    """The image manifest that the entry leads to, and its media type."""
    for _ in range(INDEX_DEPTH_LIMIT):
        name = f"manifest {entry.digest} of the archive"
        data = content.document(_blob_path(entry.digest))
        kind = image.document_type(data, entry.media_type, name=name)
        if kind in media_types.MANIFESTS:
            return data, kind
        index = image.parse_index(data, name=name)
        entry = platforms.select(index, platform or platforms.native(), name=named or name)
    raise Corrupt(f"the archive's index is nested more than {INDEX_DEPTH_LIMIT} deep")


def _layout_image(content: Unarchived, data: bytes, kind: str, names: list[str]) -> Found:
    return _image_by_manifest(content, data, kind, names, _blob_path)


def _image_by_manifest(
    content: Unarchived,
    data: bytes,
    kind: str,
    names: list[str],
    path_of: Callable[[str], str],
) -> Found:
    name = f"image {names[0] if names else 'without a name'} of the archive"
    manifest = image.parse_manifest(data, name=f"the manifest of {name}")
    config_bytes = content.document(path_of(manifest.config.digest))
    config = image.parse_config(config_bytes, name=f"the config of {name}")
    layers = [content.layer(path_of(layer.digest)) for layer in manifest.layers]
    for layer, taken in zip(manifest.layers, layers, strict=True):
        if layer.digest != taken.digest:
            raise Corrupt(f"{name}: blob {layer.digest} is {taken.digest}")
        if layer.size != taken.size:
            raise Corrupt(f"{name}: layer {layer.digest} has {taken.size} bytes, not {layer.size}")
    found = _found(config_bytes, config, layers, name, names)
    return found._replace(manifest=data, manifest_type=kind)


def _blob_path(digest: str) -> str:
    return f"blobs/sha256/{hex_of(digest)}"


def _layout_names(named: str, entry: Descriptor, repository: str | None) -> list[str]:
    """A full name stays; a bare tag gets the repository asked for, or one with today's date."""
    if not named:
        return []
    if FULL_NAME in (entry.annotations or {}) or "/" in named or ":" in named:
        return [str(naming.target(named))]
    base = repository or f"import-{time.strftime('%Y-%m-%d')}"
    return [str(naming.target(f"{base}:{named}"))]
