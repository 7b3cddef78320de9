"""Media types of images: OCI (image-spec, media-types.md) and Docker's image manifest v2."""

from __future__ import annotations

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar"

INDEXES = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
CONFIGS = frozenset({OCI_CONFIG, DOCKER_CONFIG})
SCHEMA_1 = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)
LAYERS = frozenset(
    base + suffix
    for base, suffixes in (
        (OCI_LAYER, ("", "+gzip", "+zstd")),
        (OCI_FOREIGN_LAYER, ("", "+gzip", "+zstd")),
        (DOCKER_LAYER, ("", ".gzip", ".zstd")),
        (DOCKER_FOREIGN_LAYER, ("", ".gzip", ".zstd")),
    )
    for suffix in suffixes
)

_OCI_OF_DOCKER = {
    DOCKER_INDEX: OCI_INDEX,
    DOCKER_MANIFEST: OCI_MANIFEST,
    DOCKER_CONFIG: OCI_CONFIG,
    **{
        docker + suffix.replace("+", "."): oci + suffix
        for docker, oci in (
            (DOCKER_LAYER, OCI_LAYER),
            (DOCKER_FOREIGN_LAYER, OCI_FOREIGN_LAYER),
        )
        for suffix in ("", "+gzip", "+zstd")
    },
}


def as_oci(media_type: str) -> str:
    """The image-spec's type for one of Docker's; any other stays."""
    return _OCI_OF_DOCKER.get(media_type, media_type)


ACCEPTED = (OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST)
"""What we ask a registry for, in order of preference."""
