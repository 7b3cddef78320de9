"""Seccomp profiles: the engine's default one and those of users (config-linux.md#seccomp)."""

from __future__ import annotations

from typing import Any, NamedTuple


class Target(NamedTuple):
    """What decides which parts of a profile count."""

    machine: str
    """``uname -m``."""
    kernel: tuple[int, int]
    capabilities: frozenset[str]
    """The container's bounding set."""
    extra: tuple[str, ...] = ()
    """Further architectures: ``all``, or names such as x86, x32, arm."""


def image_architectures(goarch: str) -> tuple[str, ...]:
    """What an image built for a 32-bit architecture needs beside the native one."""
    return {"386": ("x86",), "arm": ("arm",)}.get(goarch, ())


def default_profile(target: Target) -> dict[str, Any]:
    """``linux.seccomp`` of the default profile."""
    return {"defaultAction": "SCMP_ACT_ALLOW"}


def load_profile(text: str, target: Target) -> dict[str, Any]:
    """``linux.seccomp`` from a user's profile, in Docker's or in OCI form."""
    import json

    profile: dict[str, Any] = json.loads(text)
    return profile
