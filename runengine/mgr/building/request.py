"""What is to be built."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

STDIN = "-"


class BuildRequest(NamedTuple):
    """A build as the user wants it; every path as the user gave it."""

    context: str
    """A directory, an address (left to the builder), or STDIN: a tar, or a Dockerfile alone."""
    dockerfile: str = ""
    """Empty: Dockerfile, or Containerfile, in the context."""
    tags: Sequence[str] = ()
    build_args: Sequence[str] = ()
    labels: Sequence[str] = ()
    secrets: Sequence[str] = ()
    add_hosts: Sequence[str] = ()
    """Lines for /etc/hosts while it is built, ``NAME:ADDRESS``."""
    ulimits: Sequence[str] = ()
    ssh: Sequence[str] = ()
    """Agents or keys that RUN instructions may use."""
    contexts: Sequence[str] = ()
    """More contexts, ``NAME=VALUE``."""
    shm_size: str = ""
    target: str = ""
    platform: str = ""
    network: str = ""
    builder: str = ""
    no_cache: bool = False
    pull: bool = False
    quiet: bool = False


class Prepared(NamedTuple):
    """A build that a builder can start with."""

    request: BuildRequest
    context: str
    """A directory or an address."""
    dockerfile: str
    """A file; empty where the context is an address."""
    bases: Sequence[Base]
    directory: str
    """Private to this build, gone after it."""


class Base(NamedTuple):
    """An image that the Dockerfile builds on and that the engine has."""

    name: str
    """As the Dockerfile has it."""
    full: str
    """Normalised."""
