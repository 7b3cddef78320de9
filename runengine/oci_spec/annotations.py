"""Annotations by which an image layout names its images (image-spec, annotations.md)."""

from __future__ import annotations

REF_NAME = "org.opencontainers.image.ref.name"
"""A tag, or a whole name: writers differ."""
FULL_NAME = "io.containerd.image.name"
"""A whole name, with registry and tag."""
