"""Image references, ``registry/repository:tag@digest``, read as Docker reads them.

Source: distribution's reference grammar. A text is a name first: ``beef`` is the repository
``docker.io/library/beef``, whatever image ids there are.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from runengine.errors import InvalidParameter
from runengine.ids import is_digest

DOCKER_HUB = "docker.io"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"
REPOSITORY_LIMIT = 255
HOST_LIMIT = 261
"""A DNS name (253), a colon and a port."""
TEXT_LIMIT = 1024

_HUB_ALIASES = frozenset(
    {DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
)
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:]+\])(?::(?P<port>[0-9]{{1,5}}))?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_FULL_ID = re.compile(r"[0-9a-f]{64}")


class Reference(NamedTuple):
    """A normalised reference; ``tag`` is None where a digest pins the image."""

    registry: str
    repository: str
    tag: str | None
    digest: str | None

    @property
    def name(self) -> str:
        """``docker.io/library/debian``: registry and repository."""
        return f"{self.registry}/{self.repository}"

    @property
    def suffix(self) -> str:
        """``:tag`` or ``@digest``, or nothing."""
        if self.digest:
            return f"@{self.digest}"
        return f":{self.tag}" if self.tag else ""

    def __str__(self) -> str:
        return self.name + self.suffix

    @property
    def familiar_name(self) -> str:
        """``debian``: what Docker shows; parses back to the same name."""
        if self.registry != DOCKER_HUB:
            return self.name
        namespace, _, rest = self.repository.partition("/")
        if namespace == DEFAULT_NAMESPACE and "/" not in rest:
            return self.name if _FULL_ID.fullmatch(rest) else rest
        return self.name if is_registry(namespace) else self.repository

    @property
    def familiar(self) -> str:
        """``debian:latest``: ``familiar_name`` with tag or digest."""
        return self.familiar_name + self.suffix


def parse(text: str, *, default_tag: str | None = DEFAULT_TAG) -> Reference:
    """Normalise a reference: registry, namespace and tag filled in; a digest drops the tag.

    Raises InvalidParameter ("invalid reference") with what is wrong.
    """
    if not text or len(text) > TEXT_LIMIT:
        raise _invalid(text[:64], "it is empty" if not text else "it is too long")
    if "://" in text:
        raise _invalid(text, "it has a scheme", f"use {text.partition('://')[2]!r}")
    named, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise _invalid(text, "a digest is sha256:<64 lower-case hex digits>")
    path, tag = _split_tag(named, text)
    registry, repository = _split_registry(path, text)
    if digest:
        return Reference(registry, repository, None, digest)
    return Reference(registry, repository, tag or default_tag, None)


def is_tag(text: str) -> bool:
    """Whether ``text`` can be a tag."""
    return _TAG.fullmatch(text) is not None


def is_registry_host(text: str) -> bool:
    """Whether ``text`` is a well-formed registry: host name, IPv4 or [IPv6], optional port."""
    match = _HOST.fullmatch(text)
    if not match or len(text) > HOST_LIMIT:
        return False
    return match["port"] is None or 0 < int(match["port"]) < 65536


def _split_tag(named: str, text: str) -> tuple[str, str | None]:
    colon = named.rfind(":")
    if colon < 0 or "/" in named[colon:]:
        return named, None
    path, tag = named[:colon], named[colon + 1 :]
    if not _TAG.fullmatch(tag):
        raise _invalid(text, "a tag is 1 to 128 of [A-Za-z0-9_.-] and begins with [A-Za-z0-9_]")
    return path, tag


def is_registry(component: str) -> bool:
    """Whether the first part of a name is a registry, and not a namespace of Docker Hub."""
    return "." in component or ":" in component or component == "localhost"


def _split_registry(path: str, text: str) -> tuple[str, str]:
    first, slash, rest = path.partition("/")
    if slash and is_registry(first):
        registry = _check_registry(first.lower(), text)
        repository = rest
    else:
        if _FULL_ID.fullmatch(path):
            raise _invalid(text, "64 hex digits are an image id, not a name")
        registry, repository = DOCKER_HUB, path
    _check_repository(repository, text)
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"{DEFAULT_NAMESPACE}/{repository}"
    if len(repository) > REPOSITORY_LIMIT:
        raise _invalid(text, f"a repository has at most {REPOSITORY_LIMIT} characters")
    return registry, repository


def canonical(host: str) -> str:
    """A registry by its one name: Docker Hub has several."""
    return DOCKER_HUB if host in _HUB_ALIASES else host


def _check_registry(host: str, text: str) -> str:
    if not is_registry_host(host):
        raise _invalid(text, f"{host!r} is not a registry's host name with an optional port")
    return canonical(host)


def _check_repository(repository: str, text: str) -> None:
    if _REPOSITORY.fullmatch(repository):
        return
    if _REPOSITORY.fullmatch(repository.lower()):
        raise _invalid(text, "a repository name must be lower case")
    raise _invalid(
        text, "a repository is [a-z0-9] parts joined by '.', '_', '__' or dashes, and by '/'"
    )


def _invalid(text: str, why: str, resolution: str | None = None) -> InvalidParameter:
    return InvalidParameter(f"invalid reference {text!r}", details=why, resolution=resolution)
