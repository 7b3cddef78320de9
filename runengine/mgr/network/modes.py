"""The words of ``NetworkMode``."""

from __future__ import annotations

DEFAULT = "default"
"""The network that the configuration says."""
BRIDGE, HOST, NONE = "bridge", "host", "none"
CONTAINER, NETNS = "container", "netns"
_ALONE = frozenset((HOST, NONE))
_JOINED = frozenset((CONTAINER, NETNS))


def has_networks(mode: str) -> bool:
    """Whether the mode is a network that the engine connects the container to."""
    return mode not in _ALONE and mode.partition(":")[0] not in _JOINED
