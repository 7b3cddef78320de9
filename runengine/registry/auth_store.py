"""Writing an auth file in Docker's format: everything else in it stays as it is.

Secrets go to the credential helper that the file names for the registry, if any; the file then
has an empty entry, as Docker leaves it.
"""

from __future__ import annotations

import base64
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runengine.errors import EngineError
from runengine.linux import fsatomic
from runengine.linux.locks import directory_locked
from runengine.registry import credentials as reading
from runengine.registry.helpers import IDENTITY_USER, Helper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.registry.credentials import Credentials


class AuthStore:
    """One auth file, for writing; its directory is made when it is needed."""

    def __init__(self, path: str) -> None:
        # A link to a file that is kept elsewhere stays a link.
        self.path = os.path.realpath(path)

    def helper(self, registry: str) -> Helper | None:
        """Who keeps secrets for a registry; None: the file itself. Raises InvalidParameter."""
        document = reading.read_document(self.path) or {}
        return reading.helper_for(document, registry, self.path)

    def save(self, registry: str, found: Credentials) -> None:
        """Keep credentials. Raises InvalidParameter (file), Unauthorized (helper), EngineError."""
        key = reading.server_key(registry)
        helper = self.helper(registry)
        entry: dict[str, str] = {}
        if helper:
            user = IDENTITY_USER if found.identity_token else found.username
            helper.store(key, user, found.identity_token or found.password)
        else:
            pair = f"{found.username}:{'' if found.identity_token else found.password}"
            entry["auth"] = base64.b64encode(pair.encode()).decode()
            if found.identity_token:
                entry["identitytoken"] = found.identity_token
        with self._changing() as document:
            auths = reading.section(document, "auths", self.path)
            kept = {old: value for old, value in auths.items() if not _is_for(old, registry)}
            document["auths"] = {**kept, key: entry}

    def remove(self, registry: str) -> bool:
        """Forget a registry's credentials, whatever spelling they are under; False if none."""
        was_kept = self._erase(registry)
        document = reading.read_document(self.path) or {}
        if not any(_is_for(key, registry) for key in self._auths(document)):
            return was_kept
        with self._changing() as document:
            auths = self._auths(document)
            document["auths"] = {
                old: value for old, value in auths.items() if not _is_for(old, registry)
            }
        return True

    def _erase(self, registry: str) -> bool:
        """Whether a helper had something, which is gone now."""
        helper = self.helper(registry)
        if helper is None:
            return False
        servers = [server for server in helper.servers() if _is_for(server, registry)]
        for server in servers:
            helper.erase(server)
        return bool(servers)

    def _auths(self, document: dict[str, Any]) -> dict[str, Any]:
        return reading.section(document, "auths", self.path)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """The document, written back at the end; two logins at once lose nothing."""
        directory = Path(self.path).parent
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with directory_locked(str(directory)):
                document = reading.read_document(self.path) or {}
                yield document
                text = json.dumps(document, indent="\t", ensure_ascii=False) + "\n"
                fsatomic.replace(self.path, text.encode())
        except OSError as error:
            raise EngineError(
                f"cannot write auth file {self.path}", details=error.strerror
            ) from error


def _is_for(key: str, registry: str) -> bool:
    return reading.normalised(key) == registry
