"""Artifacts: plain files in a registry, each a blob with its name in an annotation, as ORAS does.

The manifest is made by oras's own pieces (``oras.oci``, ``oras.defaults``); what it leaves open,
digests on the way in, timeouts, and names that lead elsewhere, is ours.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import Corrupt, InvalidParameter, NotFound, Unsupported
from runengine.mgr.registry.artifact_files import Directory
from runengine.oci_spec import image, media_types
from runengine.registry import reference
from runengine.registry.client import RegistryClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from runengine.config import Config
    from runengine.ids import Digest
    from runengine.mgr.image.progress import Progress
    from runengine.oci_spec.image import Descriptor
    from runengine.registry.credentials import CredentialSource
    from runengine.registry.reference import Reference

DEFAULT_TYPE = "application/vnd.unknown.artifact.v1"
FILE_TYPE = "application/octet-stream"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
CREATED = "org.opencontainers.image.created"
MANIFEST_LIMIT_BYTES = 4 << 20
NAME_LIMIT = 4096


class File(NamedTuple):
    """A file to push."""

    path: str
    media_type: str = FILE_TYPE


class ArtifactFile(NamedTuple):
    """A file of an artifact; ``name`` is empty where the artifact gives it none."""

    name: str
    media_type: str
    digest: Digest
    size: int


class Artifact(NamedTuple):
    """What a name stands for."""

    reference: str
    digest: str
    artifact_type: str
    annotations: dict[str, str]
    files: list[ArtifactFile]


def push(
    config: Config,
    text: str,
    files: Sequence[File],
    *,
    artifact_type: str = DEFAULT_TYPE,
    annotations: Mapping[str, str] | None = None,
    progress: Progress,
    credentials: CredentialSource | None = None,
) -> Artifact:
    """Put the files into the registry under a name.

    Raises InvalidParameter, NotFound, Unauthorized, Unavailable.
    """
    from runengine.registry.upload import Blob, UploadClient

    ref = _tagged(text)
    layers = [_layer(file) for file in files]
    manifest = _manifest(layers, artifact_type, annotations or {})
    data = json.dumps(manifest, separators=(",", ":"), ensure_ascii=False).encode()
    digest = _digest(data)
    with UploadClient(ref, **_options(config, credentials)) as client:
        for file, layer in zip(files, layers, strict=True):
            key, size = _title(layer), int(layer["size"])
            if client.has_blob(str(layer["digest"])):
                progress.layer(key, "Already exists", size, size)
                continue
            blob = Blob(str(layer["digest"]), size, file.path)
            client.upload(blob, _reported(progress, key, "Uploading", size))
            progress.layer(key, "Uploaded", size, size)
        _put_empty(client, manifest["config"])
        client.put_manifest(ref.tag or "", media_types.OCI_MANIFEST, data, digest)
    return _read(ref, digest, data)


def show(config: Config, text: str, credentials: CredentialSource | None = None) -> Artifact:
    """What a name stands for. Raises InvalidParameter, NotFound, Unsupported, Unavailable."""
    ref = reference.parse(text)
    with RegistryClient(mirrors=config.mirrors, **_options(config, credentials)) as client:
        found = client.manifest(ref)
    return _read(ref, found.digest, found.data)


def pull(
    config: Config,
    text: str,
    directory: str,
    *,
    keep_old: bool = False,
    progress: Progress,
    credentials: CredentialSource | None = None,
) -> Artifact:
    """Bring the files into a directory, and nothing outside it; each is whole or not there.

    Raises InvalidParameter, NotFound, Unauthorized, Unavailable, Corrupt, Unsupported.
    """
    ref = reference.parse(text)
    with RegistryClient(mirrors=config.mirrors, **_options(config, credentials)) as client:
        found = client.manifest(ref)
        artifact = _read(ref, found.digest, found.data)
        _check_names(artifact)
        with Directory(directory) as target:
            for file in artifact.files:
                if not file.name:
                    progress.layer(file.digest, "Skipped, it has no file name", 0, None)
                elif keep_old and target.has(file.name):
                    progress.layer(file.name, "Kept as it is", 0, None)
                else:
                    report = _reported(progress, file.name, "Downloading", file.size)
                    target.write(file.name, lambda: _chunks(client, ref, file), report)  # noqa: B023
                    progress.layer(file.name, "Downloaded", file.size, file.size)
    return artifact


def _options(config: Config, credentials: CredentialSource | None) -> dict[str, Any]:
    return {
        "insecure": config.insecure_registries,
        "credentials": credentials,
        "certs_dirs": config.certs_dirs,
    }


def _tagged(text: str) -> Reference:
    ref = reference.parse(text)
    if ref.digest:
        raise InvalidParameter(
            f"cannot push the digest reference {text}", resolution="name a tag, as in name:tag"
        )
    return ref


def _layer(file: File) -> dict[str, Any]:
    """The descriptor of a file, by oras. Raises NotFound, InvalidParameter."""
    import oras.defaults
    import oras.oci

    path = Path(file.path)
    if path.is_dir():
        raise InvalidParameter(
            f"{file.path} is a directory", resolution="push its files, or an archive of it"
        )
    if not path.is_file():
        raise NotFound(f"there is no file {file.path}")
    try:
        layer: dict[str, Any] = oras.oci.NewLayer(file.path, media_type=file.media_type)
    except OSError as error:
        raise InvalidParameter(f"cannot read {file.path}", details=error.strerror) from None
    return {**layer, "annotations": {oras.defaults.annotation_title: path.name}}


def _manifest(
    layers: list[dict[str, Any]], artifact_type: str, annotations: Mapping[str, str]
) -> dict[str, Any]:
    """An image manifest as the image-spec wants it of an artifact: with the empty config."""
    import oras.oci

    names = [_title(layer) for layer in layers]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InvalidParameter(f"two files have the name {twice!r}")
    if not layers:
        raise InvalidParameter("there is no file to push")
    config, _ = oras.oci.ManifestConfig(media_type=EMPTY_TYPE)
    made: dict[str, Any] = oras.oci.NewManifest()
    made.pop("annotations")
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {
        **made,
        "artifactType": artifact_type,
        "config": config,
        "layers": layers,
        "annotations": {CREATED: created, **annotations},
    }


def _put_empty(client: Any, config: Mapping[str, Any]) -> None:
    """The config of an artifact: two bytes."""
    import tempfile

    from runengine.registry.upload import Blob

    if client.has_blob(config["digest"]):
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(EMPTY)
        file.flush()
        client.upload(Blob(str(config["digest"]), len(EMPTY), file.name))


def _title(layer: Mapping[str, Any]) -> str:
    import oras.defaults

    return str((layer.get("annotations") or {}).get(oras.defaults.annotation_title) or "")


def _digest(data: bytes) -> str:
    import hashlib

    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _reported(
    progress: Progress, key: str, status: str, size: int
) -> Callable[[int], None]:
    return lambda done: progress.layer(key, status, done, size)


def _read(ref: Reference, digest: str, data: bytes) -> Artifact:
    """A manifest as an artifact. Raises Corrupt, Unsupported for an image or an index."""
    name = f"manifest {digest} of {ref}"
    kind = image.document_type(data, name=name)
    if kind in media_types.INDEXES:
        raise Unsupported(
            f"{ref} is an index, not an artifact", resolution="name one of its manifests by digest"
        )
    manifest = image.parse_any_manifest(data, name=name)
    files = [_file(layer) for layer in manifest.layers]
    found = image.artifact_type(manifest)
    if found is None and not any(file.name for file in files):
        raise Unsupported(
            f"{ref} is a container image, not an artifact",
            resolution=f"pull it: runengine pull {ref.familiar}",
        )
    shown = found or manifest.config.media_type
    return Artifact(str(ref), digest, shown, dict(manifest.annotations or {}), files)


def _file(layer: Descriptor) -> ArtifactFile:
    """A file; a directory, which ORAS packs, is kept as the archive that it came as."""
    import oras.defaults

    name = _title({"annotations": layer.annotations})
    if name and (layer.annotations or {}).get(oras.defaults.annotation_unpack) == "true":
        name += ".tar.gz"
    return ArtifactFile(name, layer.media_type, layer.digest, layer.size)


def _check_names(artifact: Artifact) -> None:
    """Before anything is written: every name leads into the directory, and none comes twice."""
    names = [file.name for file in artifact.files if file.name]
    for name in names:
        parts = name.split("/")
        if len(name) > NAME_LIMIT or not name.isprintable() or {"", ".", ".."} & set(parts):
            raise Corrupt(
                f"{artifact.reference} has a file with the name {name[:200]!r}",
                details="it would not be in the directory",
            )
    if len(set(names)) != len(names):
        raise Corrupt(f"{artifact.reference} has two files of the same name")


def _chunks(client: RegistryClient, ref: Reference, file: ArtifactFile) -> Iterator[bytes]:
    """The file's bytes; the stream checks size and digest at its end."""
    with client.blob(ref, file) as stream:
        yield from stream
