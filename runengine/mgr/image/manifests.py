"""``manifest inspect``: the documents behind a name, as its registry or this engine has them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from runengine.errors import Corrupt, NotFound
from runengine.ids import Digest
from runengine.mgr.image import marking, naming
from runengine.oci_spec import image, media_types
from runengine.registry import reference

if TYPE_CHECKING:
    from runengine.mgr.image.context import ImageContext
    from runengine.registry.client import RegistryClient
    from runengine.registry.credentials import CredentialSource
    from runengine.registry.reference import Reference

Document = dict[str, Any]


class _Source(Protocol):
    """Where documents come from."""

    def top(self) -> bytes:
        """What the name stands for. Raises NotFound."""

    def document(self, digest: str) -> bytes:
        """A manifest. Raises NotFound."""

    def config(self, digest: str, size: int) -> bytes:
        """An image's config. Raises NotFound."""


def inspect(
    context: ImageContext,
    text: str,
    *,
    verbose: bool,
    local: bool,
    insecure: bool,
    credentials: CredentialSource | None = None,
) -> Document | list[Document]:
    """The manifest or index that ``text`` names, as its registry has it; ``local``: as it is here.

    ``verbose``: Docker's form with references, descriptors and platforms, a list for an index.
    Raises NotFound, Unauthorized, Unavailable, Corrupt, InvalidParameter.
    """
    if local:
        return _shown(_Local(context, text), naming_of(context, text), verbose=verbose)
    from runengine.registry.client import RegistryClient

    settings = context.config
    ref = reference.parse(text)
    with RegistryClient(
        insecure=[*settings.insecure_registries, *([ref.registry] if insecure else [])],
        mirrors=settings.mirrors,
        credentials=credentials,
        certs_dirs=settings.certs_dirs,
    ) as client:
        return _shown(_Remote(client, ref), str(ref), verbose=verbose)


def naming_of(context: ImageContext, text: str) -> str:
    """The full name that ``text`` is here, or the image's id. Raises NotFound."""
    found = naming.find(context.store.images, text)
    return found.name or found.image.image_id


class _Remote(NamedTuple):
    client: RegistryClient
    ref: Reference

    def top(self) -> bytes:
        return self.client.manifest(self.ref).data

    def document(self, digest: str) -> bytes:
        return self.client.manifest(self.ref._replace(tag=None, digest=Digest(digest))).data

    def config(self, digest: str, size: int) -> bytes:
        with self.client.blob(self.ref, _Blob(Digest(digest), size)) as stream:
            return b"".join(stream)


class _Blob(NamedTuple):
    digest: Digest
    size: int


class _Local(NamedTuple):
    context: ImageContext
    text: str

    def top(self) -> bytes:
        """The index that the name stands for, if it is kept; else the image's manifest."""
        images = self.context.store.images
        found = naming.find(images, self.text)
        row = images.find_name(found.name) if found.name else None
        manifest = row.manifest_digest if row else found.image.manifest_digest
        names = images.names_of(found.image.image_id)
        same = naming.repository(found.name) if found.name else None
        digests = [
            digest
            for name in names
            if (digest := name.partition("@")[2]) and same in (None, naming.repository(name))
        ]
        for digest in digests:
            if self.context.content.has(digest):
                return self.document(digest)
        return self.document(manifest)

    def document(self, digest: str) -> bytes:
        try:
            return self.context.content.read(digest, marking.DOCUMENT_LIMIT_BYTES)
        except NotFound:
            raise NotFound(
                f"manifest {digest} is not here", resolution="ask its registry, without --local"
            ) from None

    def config(self, digest: str, size: int) -> bytes:
        return self.context.content.read(digest, size)


def _shown(source: _Source, ref: str, *, verbose: bool) -> Document | list[Document]:
    data = source.top()
    document = _parsed(data, ref)
    if not verbose:
        return document
    if "manifests" not in document:
        platform = _platform_of(source, document, ref)
        return _entry(ref, data, document, platform)
    name = ref.partition("@")[0]
    entries = []
    for one in image.parse_index(data, name=ref).manifests:
        child = source.document(one.digest)
        platform = one.platform.model_dump(exclude_defaults=True) if one.platform else {}
        entries.append(_entry(f"{name}@{one.digest}", child, _parsed(child, ref), platform))
    return entries


def _parsed(data: bytes, ref: str) -> Document:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Corrupt(f"the manifest of {ref} is not a JSON object")
    return document


def _platform_of(source: _Source, document: Document, ref: str) -> Document:
    """What a single manifest does not say its config does; an artifact's says nothing."""
    manifest = image.parse_any_manifest(json.dumps(document).encode(), name=ref)
    if image.artifact_type(manifest) is not None:
        return {}
    config = json.loads(source.config(manifest.config.digest, manifest.config.size))
    keys = ("architecture", "os", "os.version", "variant")
    return {key: config[key] for key in keys if config.get(key)}


def _entry(ref: str, data: bytes, document: Document, platform: Document) -> Document:
    import hashlib

    kind = document.get("mediaType") or media_types.OCI_MANIFEST
    descriptor: Document = {
        "mediaType": kind,
        "digest": f"sha256:{hashlib.sha256(data).hexdigest()}",
        "size": len(data),
    }
    if platform:
        descriptor["platform"] = platform
    form = "SchemaV2Manifest" if kind == media_types.DOCKER_MANIFEST else "OCIManifest"
    return {
        "Ref": ref,
        "Descriptor": descriptor,
        "Raw": base64.b64encode(data).decode(),
        form: document,
    }
