"""Where a registry's credentials come from: given, or the auth files that other tools write.

Files, in order: ``$REGISTRY_AUTH_FILE``, ``/etc/runengine/auth.json``, ``~/.docker/config.json``;
each in the format of containers-auth.json(5), with credential helpers.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from runengine.errors import InvalidParameter
from runengine.registry.reference import DOCKER_HUB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runengine.registry.helpers import Helper

ENGINE_AUTH_FILE = "/etc/runengine/auth.json"
FILE_LIMIT_BYTES = 1 << 20
HUB_SERVER = "https://index.docker.io/v1/"
"""The name that Docker keeps Docker Hub's credentials under."""

_HUB_KEYS = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})


class Credentials(NamedTuple):
    """A user name with a password, or an identity token (OAuth2), or a ready bearer token."""

    username: str
    password: str
    identity_token: str = ""
    registry_token: str = ""
    source: str = ""

    def __repr__(self) -> str:
        """Secrets stay out of logs and tracebacks."""
        return f"Credentials(username={self.username!r}, source={self.source!r})"


class CredentialSource(Protocol):
    """Finds credentials; must be picklable, for the download workers."""

    is_explicit: bool
    """Whether the user gave them for this very operation: used at once, not after anonymous."""

    def find(self, registry: str, repository: str) -> Credentials | None:
        """Credentials for a repository of a registry (``docker.io`` for Docker Hub)."""


class GivenCredentials:
    """Credentials that the user gave for one registry."""

    is_explicit = True

    def __init__(self, registry: str, credentials: Credentials) -> None:
        self._registry = registry
        self._credentials = credentials

    def find(self, registry: str, repository: str) -> Credentials | None:  # noqa: ARG002
        """The credentials, for their registry and no other."""
        return self._credentials if registry == self._registry else None


class AuthFiles:
    """Credentials from auth files; read on first need, once."""

    is_explicit = False

    def __init__(self, paths: Sequence[str] | None = None) -> None:
        self.paths = list(paths) if paths is not None else default_paths(os.environ)
        self._documents: list[tuple[str, dict[str, Any]]] | None = None

    def find(self, registry: str, repository: str) -> Credentials | None:
        """The first file's credentials that fit: the longest matching key wins within it.

        Raises InvalidParameter for a file that cannot be understood, Unauthorized for a
        credential helper that fails.
        """
        if self._documents is None:
            self._documents = list(_documents(self.paths))
        for path, document in self._documents:
            found = _find_in(document, registry, repository, path)
            if found:
                return found
        return None


def default_paths(environment: Mapping[str, str]) -> list[str]:
    """Auth files in the order in which they are asked."""
    named = environment.get("REGISTRY_AUTH_FILE")
    return [*([named] if named else []), ENGINE_AUTH_FILE, _docker_config(environment)]


def login_path(environment: Mapping[str, str]) -> str:
    """The auth file that a login is written to."""
    return environment.get("REGISTRY_AUTH_FILE") or _docker_config(environment)


def _docker_config(environment: Mapping[str, str]) -> str:
    home = Path(environment.get("HOME") or "/root")
    return f"{environment.get('DOCKER_CONFIG') or home / '.docker'}/config.json"


def _documents(paths: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in paths:
        document = read_document(path)
        if document is not None:
            yield path, document


def read_document(path: str) -> dict[str, Any] | None:
    """An auth file's content; None if there is no file. Raises InvalidParameter."""
    import json

    data = _read(path)
    if data is None:
        return None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _malformed(path, str(error)) from None
    if not isinstance(document, dict):
        raise _malformed(path, "it is not a JSON object")
    return document


def _read(path: str) -> bytes | None:
    try:
        if not Path(path).is_file():
            return None
        with Path(path).open("rb") as file:
            data = file.read(FILE_LIMIT_BYTES + 1)
    except OSError as error:
        raise InvalidParameter(f"cannot read auth file {path}", details=error.strerror) from None
    if len(data) > FILE_LIMIT_BYTES:
        raise _malformed(path, f"it is longer than {FILE_LIMIT_BYTES} bytes")
    return data


def _find_in(
    document: dict[str, Any], registry: str, repository: str, path: str
) -> Credentials | None:
    helper = helper_for(document, registry, path, particular=True)
    if helper is not None:
        return _ask_helper(helper, server_key(registry))
    auths = {normalised(key): entry for key, entry in section(document, "auths", path).items()}
    for key in _keys(registry, repository):
        entry = auths.get(key)
        if isinstance(entry, dict) and (found := _decode(entry, key, path)):
            return found
    helper = helper_for(document, registry, path)
    return _ask_helper(helper, server_key(registry)) if helper else None


def server_key(registry: str) -> str:
    """The name that Docker keeps a registry's credentials under."""
    return HUB_SERVER if registry == DOCKER_HUB else registry


def helper_for(
    document: dict[str, Any], registry: str, path: str, *, particular: bool = False
) -> Helper | None:
    """The credential helper for a registry; with ``particular`` not that for all registries."""
    from runengine.registry.helpers import Helper

    for key, name in section(document, "credHelpers", path).items():
        if normalised(key) == registry:
            return Helper(str(name), path)
    store = None if particular else document.get("credsStore")
    return Helper(str(store), path) if store else None


def section(document: dict[str, Any], name: str, path: str) -> dict[str, Any]:
    """An object inside the document, empty if there is none. Raises InvalidParameter."""
    found = document.get(name) or {}
    if not isinstance(found, dict):
        raise _malformed(path, f"{name!r} is not an object")
    return found


def normalised(key: str) -> str:
    """A key without scheme and API version; Docker Hub's many names become one."""
    plain = (key.partition("://")[2] or key).rstrip("/")
    for version in ("/v1", "/v2"):
        plain = plain.removesuffix(version)
    host, slash, rest = plain.partition("/")
    return (DOCKER_HUB if host in _HUB_KEYS else host.lower()) + slash + rest


def _keys(registry: str, repository: str) -> Iterator[str]:
    """``host/a/b``, ``host/a``, ``host``: the most particular first."""
    parts = repository.split("/") if repository else []
    for count in range(len(parts), -1, -1):
        yield "/".join([registry, *parts[:count]])


def _decode(entry: dict[str, Any], key: str, path: str) -> Credentials | None:
    import base64
    import binascii

    username, password = _text(entry, "username"), _text(entry, "password")
    if encoded := _text(entry, "auth"):
        try:
            pair = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise _malformed(path, f"'auth' of {key} is not base64") from None
        username, colon, password = pair.partition(":")
        if not colon:
            raise _malformed(path, f"'auth' of {key} is not user:password")
    identity, bearer = _text(entry, "identitytoken"), _text(entry, "registrytoken")
    if not (username or identity or bearer):
        return None
    return Credentials(username, password.strip("\0"), identity, bearer, path)


def _text(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def _ask_helper(helper: Helper, server: str) -> Credentials | None:
    from runengine.registry.helpers import IDENTITY_USER

    found = helper.get(server)
    if found is None:
        return None
    source = f"{helper.program} (from {helper.path})"
    if found[0] == IDENTITY_USER:
        return Credentials("", "", identity_token=found[1], source=source)
    return Credentials(*found, source=source)


def _malformed(path: str, why: str) -> InvalidParameter:
    return InvalidParameter(
        f"auth file {path} is malformed", details=why, resolution="correct it or remove it"
    )
