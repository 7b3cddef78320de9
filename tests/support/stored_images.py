"""Names of what the unit tests of images put into a store."""

from __future__ import annotations

import hashlib

HUB = "docker.io/library"


def layer_key(word: str) -> str:
    """The key, and the diff id, of the layer made for a word."""
    return hashlib.sha256(f"tar of {word}".encode()).hexdigest()
