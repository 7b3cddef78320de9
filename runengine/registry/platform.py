"""Platforms: which image of an index fits this machine (image-spec, image-index.md)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter, NotFound

if TYPE_CHECKING:
    from runengine.oci_spec.image import Descriptor, Index

_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv8l": ("arm", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
}
_IMPLIED_VARIANT = {"arm64": "v8", "arm": "v7", "amd64": "v1"}
LISTED_IN_ERROR = 12


class Platform(NamedTuple):
    """Operating system, architecture and variant by Go's names; no variant is ``""``."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``os/architecture[/variant]``, ``architecture`` or ``os``.

        Raises InvalidParameter for anything else.
        """
        parts = text.lower().split("/")
        if not all(part and part.replace("-", "").replace("_", "").isalnum() for part in parts):
            raise _invalid(text)
        if len(parts) == 1:
            known = parts[0] in ("linux", "windows", "darwin", "freebsd")
            parts = [parts[0], native().architecture] if known else ["linux", parts[0]]
        if len(parts) > 3:
            raise _invalid(text)
        return normalised(*parts)

    @classmethod
    def native(cls) -> Platform:
        """The platform of this machine."""
        return native()

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


def native() -> Platform:
    """The platform of this machine (uname(2))."""
    return normalised("linux", os.uname().machine)


def normalised(system: str, architecture: str, variant: str = "") -> Platform:
    """A platform with Go's architecture names and without a variant that goes without saying."""
    architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
    variant = variant or implied
    if variant.isdigit():
        variant = f"v{variant}"
    if variant == _IMPLIED_VARIANT.get(architecture):
        variant = ""
    return Platform(system, architecture, variant)


def matches(wanted: Platform, offered: Platform) -> bool:
    """Whether an image for ``offered`` runs on ``wanted``: same, or an older variant of it."""
    return _rank(wanted, offered) is not None


def select(index: Index, platform: Platform, *, name: str = "the index") -> Descriptor:
    """The entry for ``platform``: its variant, else the newest older one; the first of equals.

    An index whose single entry names no platform is taken as it is. Raises NotFound that lists
    what there is.
    """
    ranked = []
    for position, entry in enumerate(index.manifests):
        offered = platform_of(entry)
        rank = _rank(platform, offered) if offered else None
        if rank is not None:
            ranked.append((rank, position))
    if ranked:
        return index.manifests[min(ranked)[1]]
    if len(index.manifests) == 1 and index.manifests[0].platform is None:
        return index.manifests[0]
    raise _none_fits(index, platform, name)


def platform_of(entry: Descriptor) -> Platform | None:
    """The normalised platform of an index's entry."""
    if entry.platform is None:
        return None
    declared = entry.platform
    return normalised(declared.os, declared.architecture, declared.variant)


def _rank(wanted: Platform, offered: Platform) -> int | None:
    if (wanted.os, wanted.architecture) != (offered.os, offered.architecture):
        return None
    if wanted.variant == offered.variant:
        return 0
    distance = _level(wanted) - _level(offered)
    return distance if distance > 0 else None


def _level(platform: Platform) -> int:
    text = (platform.variant or _IMPLIED_VARIANT.get(platform.architecture, "v0"))[1:]
    return int(text) if text.isdigit() else 0


def _none_fits(index: Index, platform: Platform, name: str) -> NotFound:
    offered = {str(found) for entry in index.manifests if (found := platform_of(entry))}
    offered.discard("unknown/unknown")
    listed = ", ".join(sorted(offered)[:LISTED_IN_ERROR]) or "none"
    return NotFound(
        f"no image for platform {platform} in {name}",
        details=f"it has: {listed}",
        resolution="choose one with --platform",
    )


def _invalid(text: str) -> InvalidParameter:
    return InvalidParameter(
        f"invalid platform {text!r}", resolution="write it as os/architecture[/variant]"
    )
