"""The noun groups, such as ``container``, ``image`` and ``network``."""

from __future__ import annotations

from runengine.cli.lazy import Entry, LazyGroup
from runengine.cli.table_of_commands import (
    ARTIFACT,
    BUILDER,
    CHECKPOINT,
    CONTAINER,
    GENERATE,
    HEALTHCHECK,
    IMAGE,
    MANIFEST,
    NETWORK,
    REGISTRY,
    SYSTEM,
    VOLUME,
)


def _group(name: str, brief: str, table: dict[str, Entry]) -> LazyGroup:
    return LazyGroup(name, help=brief, table=table)


builder = _group("builder", "Manage builds", BUILDER)
checkpoint = _group("checkpoint", "Manage checkpoints", CHECKPOINT)
container = _group("container", "Manage containers", CONTAINER)
image = _group("image", "Manage images", IMAGE)
manifest = _group("manifest", "Look at image manifests and manifest lists", MANIFEST)
network = _group("network", "Manage networks", NETWORK)
volume = _group("volume", "Manage volumes", VOLUME)
registry = _group("registry", "Look into registries", REGISTRY)
artifact = _group("artifact", "Manage plain files in registries", ARTIFACT)
system = _group("system", "Manage runengine", SYSTEM)
healthcheck = _group("healthcheck", "Manage health checks", HEALTHCHECK)
generate = _group("generate", "Generate files for other programs", GENERATE)
