"""Documents of an image: descriptor, index, manifest, config (image-spec 1.1, Docker v2 schema 2).

Tolerant of unknown keys and of nulls, strict on digests, sizes and media types. Documents come
from strangers: their size, depth and number of values are bounded before they are parsed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel, to_pascal

from runengine.errors import Corrupt, EngineError, Unsupported
from runengine.ids import DiffID, Digest, is_digest
from runengine.oci_spec import media_types

if TYPE_CHECKING:
    from collections.abc import Callable

MANIFEST_LIMIT_BYTES = 4 << 20
CONFIG_LIMIT_BYTES = 16 << 20
SIZE_LIMIT_BYTES = (1 << 63) - 1
FAULTS_LIMIT = 1000
VALUES_LIMIT = 200_000
"""Commas and brackets in one document: a tiny value costs fifty times its text in memory."""


def _check_digest(text: str) -> str:
    if not is_digest(text):
        shown = text[:80]
        if shown.startswith(("sha384:", "sha512:", "blake3:")):
            raise ValueError(f"digest algorithm of {shown!r} is not supported, only sha256")
        raise ValueError(f"{shown!r} is not a sha256 digest")
    return text


DigestField = Annotated[Digest, AfterValidator(_check_digest)]
DiffIDField = Annotated[DiffID, AfterValidator(_check_digest)]
_Item = TypeVar("_Item")
Items = Annotated[list[_Item], FailFast()]
"""A list whose first fault ends the reading: a hundred thousand errors cost 200 MB."""
SizeField = Annotated[int, Field(ge=0, le=SIZE_LIMIT_BYTES)]


class _Document(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        strict=True,
        frozen=True,
        defer_build=True,  # A pull needs half of these models.
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        """Go writes an empty list or map as null; both mean the default."""
        if isinstance(data, dict) and None in data.values():
            return {key: value for key, value in data.items() if value is not None}
        return data

    def to_json(self) -> bytes:
        """The document by its spec names, compact; empty optional values are left out."""
        import json

        return json.dumps(_plain(self), separators=(",", ":"), ensure_ascii=False).encode()


_ALWAYS_WRITTEN = frozenset(
    {"architecture", "os", "manifests", "layers", "diff_ids", "rootfs", "size", "digest"}
)


def _plain(value: Any) -> Any:
    """Documents as dictionaries without empty fields; maps and lists inside are kept whole."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, _Document):
        return value
    fields = type(value).model_fields
    present = {name: getattr(value, name) for name in fields}
    return {
        fields[name].alias or name: _plain(item)
        for name, item in present.items()
        if item or name in _ALWAYS_WRITTEN
    }


class PlatformSpec(_Document):
    """What an index's entry runs on."""

    architecture: str = ""
    os: str = ""
    variant: str = ""
    os_version: str = Field(default="", alias="os.version")
    os_features: list[str] = Field(default_factory=list, alias="os.features")


class Descriptor(_Document):
    """A blob by media type, digest and size in bytes (image-spec, descriptor.md)."""

    media_type: str = ""
    digest: DigestField
    size: SizeField
    urls: list[str] | None = None
    annotations: dict[str, str] | None = None
    platform: PlatformSpec | None = None
    artifact_type: str | None = None


class Index(_Document):
    """Several manifests, usually one per platform (image-spec, image-index.md)."""

    schema_version: int = 2
    media_type: str = ""
    artifact_type: str | None = None
    manifests: Items[Descriptor] = Field(default_factory=list)
    annotations: dict[str, str] | None = None


class Manifest(_Document):
    """One image: its config and its layers, bottom first (image-spec, manifest.md)."""

    schema_version: int = 2
    media_type: str = ""
    artifact_type: str | None = None
    config: Descriptor
    layers: Items[Descriptor] = Field(default_factory=list)
    annotations: dict[str, str] | None = None


class _Pascal(_Document):
    model_config = ConfigDict(alias_generator=to_pascal)


class Healthcheck(_Pascal):
    """Docker's health check; durations in ns."""

    test: list[str] = Field(default_factory=list)
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ExecutionConfig(_Pascal):
    """Defaults for a container of this image (image-spec, config.md, and Docker's additions)."""

    user: str = ""
    exposed_ports: dict[str, Any] = Field(default_factory=dict)
    env: Items[str] = Field(default_factory=list)
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    volumes: dict[str, Any] = Field(default_factory=dict)
    working_dir: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    stop_signal: str = ""
    stop_timeout: int | None = None
    args_escaped: bool = False
    healthcheck: Healthcheck | None = None
    on_build: list[str] = Field(default_factory=list)
    shell: list[str] | None = None


class RootFS(_Document):
    """The layers by the hashes of their uncompressed tars, bottom first."""

    model_config = ConfigDict(alias_generator=None)

    type: str = "layers"
    diff_ids: Items[DiffIDField] = Field(default_factory=list)


class History(_Document):
    """How one layer, or one line of a build without a layer, came to be."""

    model_config = ConfigDict(alias_generator=None)

    created: str | None = None
    author: str | None = None
    created_by: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None


class ImageConfig(_Document):
    """The image config; its digest is the image's id (image-spec, config.md)."""

    model_config = ConfigDict(alias_generator=None)

    created: str | None = None
    author: str | None = None
    architecture: str = ""
    os: str = ""
    variant: str = ""
    os_version: str = Field(default="", alias="os.version")
    os_features: list[str] = Field(default_factory=list, alias="os.features")
    config: ExecutionConfig = Field(default_factory=ExecutionConfig)
    rootfs: RootFS = Field(default_factory=RootFS)
    history: Items[History] = Field(default_factory=list)


_AnyDocument = TypeVar("_AnyDocument", bound=_Document)


class _Shape(_Document):
    """The few keys that tell what kind of document this is."""

    schema_version: int = 2
    media_type: str = ""
    manifests: list[Any] | None = None
    config: Any = None
    layers: list[Any] | None = None
    fs_layers: list[Any] | None = None


def document_type(data: bytes, content_type: str = "", *, name: str = "manifest") -> str:
    """The media type of a manifest or an index, from the header and the document itself.

    Raises Corrupt where they contradict each other or the document is both (CVE-2021-41190),
    Unsupported for schema 1 and for what is no image.
    """
    declared = content_type.partition(";")[0].strip().lower()
    if declared in media_types.SCHEMA_1:
        raise _schema_1(name)
    shape = _parse(_Shape, data, MANIFEST_LIMIT_BYTES, name)
    if shape.schema_version == 1 or shape.fs_layers is not None:
        raise _schema_1(name)
    is_index = shape.manifests is not None
    if is_index and (shape.layers is not None or shape.config is not None):
        raise Corrupt(f"{name} is ambiguous: it is both an index and a manifest")
    known = media_types.INDEXES | media_types.MANIFESTS
    types = {kind for kind in (declared, shape.media_type) if kind in known}
    if len(types) > 1:
        raise Corrupt(f"{name} is sent as {declared} but says that it is {shape.media_type}")
    if not types:
        return _guess(shape, name, is_index=is_index)
    found = types.pop()
    if is_index != (found in media_types.INDEXES):
        raise Corrupt(f"{name} does not have the form of its media type {found}")
    return found


def check_document(data: bytes, content_type: str, *, name: str) -> None:
    """Raise as ``document_type`` and the parsers do for what is neither manifest nor index."""
    if document_type(data, content_type, name=name) in media_types.MANIFESTS:
        parse_manifest(data, name=name)
    else:
        parse_index(data, name=name)


def parse_index(data: bytes, *, name: str = "index") -> Index:
    """Read an index. Raises Corrupt naming ``name`` and the first fault."""
    return _parse(Index, data, MANIFEST_LIMIT_BYTES, name)


def parse_manifest(data: bytes, *, name: str = "manifest") -> Manifest:
    """Read a manifest of a container image.

    Raises Corrupt naming ``name`` and the first fault, Unsupported for other artifacts.
    """
    manifest = parse_any_manifest(data, name=name)
    kind = artifact_type(manifest)
    if kind is not None:
        raise Unsupported(
            f"{name} is not a container image but an artifact of type {kind[:120]!r}",
            resolution="fetch its files: runengine artifact pull",
        )
    for layer in manifest.layers:
        if layer.media_type and layer.media_type not in media_types.LAYERS:
            raise Unsupported(
                f"{name} has a layer of an unknown kind, {layer.media_type[:120]!r}",
                resolution="layers may be tar, tar+gzip or tar+zstd",
            )
    return manifest


def parse_any_manifest(data: bytes, *, name: str = "manifest") -> Manifest:
    """Read a manifest of an image or of another artifact. Raises Corrupt."""
    return _parse(Manifest, data, MANIFEST_LIMIT_BYTES, name)


def artifact_type(manifest: Manifest) -> str | None:
    """What kind of artifact this is by its config (image-spec, manifest.md); None: an image."""
    config_type = manifest.config.media_type
    if not config_type or config_type in media_types.CONFIGS:
        return None
    return manifest.artifact_type or config_type


def parse_config(data: bytes, *, name: str = "image config") -> ImageConfig:
    """Read an image config. Raises Corrupt naming ``name`` and the first fault."""
    return _parse(ImageConfig, data, CONFIG_LIMIT_BYTES, name)


def check_layer_count(manifest: Manifest, config: ImageConfig, *, name: str) -> None:
    """Raise Corrupt unless the config has one diff id per layer."""
    layers, diff_ids = len(manifest.layers), len(config.rootfs.diff_ids)
    if layers != diff_ids:
        raise Corrupt(f"{name} has {layers} layers but its config has {diff_ids} diff ids")


def check_json_cost(data: bytes, limit: int, name: str) -> None:
    """Raise Corrupt for a document that is too long or has too many values to parse cheaply."""
    if len(data) > limit:
        raise Corrupt(f"{name} has {len(data)} bytes, more than the limit of {limit}")
    if data.count(b",") + data.count(b"[") + data.count(b"{") > VALUES_LIMIT:
        raise Corrupt(f"{name} has more than {VALUES_LIMIT} JSON values")


def _parse(kind: type[_AnyDocument], data: bytes, limit: int, name: str) -> _AnyDocument:
    check_json_cost(data, limit, name)
    return _refusing(lambda: kind.model_validate_json(data), name)


def _refusing(parse: Callable[[], _AnyDocument], name: str) -> _AnyDocument:
    try:
        return parse()
    except ValidationError as error:
        if error.error_count() > FAULTS_LIMIT:
            raise Corrupt(f"{name} is malformed in {error.error_count()} places") from None
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise Corrupt(
            f"{name} is malformed", details=f"{where}: {message}" if where else message
        ) from None


def _guess(shape: _Shape, name: str, *, is_index: bool) -> str:
    if is_index:
        return media_types.OCI_INDEX
    if shape.config is not None and shape.layers is not None:
        return media_types.OCI_MANIFEST
    if shape.media_type:
        raise Unsupported(f"{name} is not an image: its media type is {shape.media_type[:120]!r}")
    raise Corrupt(f"{name} is neither a manifest nor an index")


def _schema_1(name: str) -> EngineError:
    return Unsupported(
        f"{name} is an image of the withdrawn format 'schema 1'",
        resolution="convert it, for example: skopeo copy --format v2s2 docker://OLD docker://NEW",
    )
