"""The noun groups: ``container``, ``image``, ``network``, ``volume``, ``system``, ``generate``."""

from __future__ import annotations

from runengine.cli.lazy import Entry, LazyGroup
from runengine.cli.table_of_commands import (
    CONTAINER,
    GENERATE,
    IMAGE,
    NETWORK,
    SYSTEM,
    VOLUME,
)


def _group(name: str, brief: str, table: dict[str, Entry]) -> LazyGroup:
    return LazyGroup(name, help=brief, table=table)


container = _group("container", "Manage containers", CONTAINER)
image = _group("image", "Manage images", IMAGE)
network = _group("network", "Manage networks", NETWORK)
volume = _group("volume", "Manage volumes", VOLUME)
system = _group("system", "Manage runengine", SYSTEM)
generate = _group("generate", "Generate files for other programs", GENERATE)
