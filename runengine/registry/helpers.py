"""Credential helpers: ``docker-credential-NAME get|store|erase|list``, asked over stdin.

The protocol is docker-credential-helpers': a server's name, or a JSON document, goes in; JSON, or
a message with a non-zero exit code, comes out.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import NamedTuple

from runengine.errors import InvalidParameter, Unauthorized

TIMEOUT_S = 30.0
IDENTITY_USER = "<token>"
"""The user name that goes with an identity token."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_NOT_FOUND = "credentials not found"


class Helper(NamedTuple):
    """A helper, and the file that names it."""

    name: str
    path: str

    @property
    def program(self) -> str:
        """What is run."""
        return f"docker-credential-{self.name}"

    def get(self, server: str) -> tuple[str, str] | None:
        """User name and secret for a server; None if it has none. Raises Unauthorized."""
        answer = self._run("get", server)
        if answer is None:
            return None
        try:
            document = json.loads(answer)
            return str(document["Username"]), str(document["Secret"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise self._failed("its answer is not understood") from None

    def store(self, server: str, username: str, secret: str) -> None:
        """Keep a secret. Raises Unauthorized."""
        document = {"ServerURL": server, "Username": username, "Secret": secret}
        self._run("store", json.dumps(document))

    def erase(self, server: str) -> None:
        """Forget a server's secret; no matter if there is none. Raises Unauthorized."""
        self._run("erase", server)

    def servers(self) -> dict[str, str]:
        """User names by server. Raises Unauthorized."""
        try:
            document = json.loads(self._run("list", "") or "{}")
        except (ValueError, RecursionError):
            raise self._failed("its answer is not understood") from None
        found = document if isinstance(document, dict) else {}
        return {str(server): str(user) for server, user in found.items()}

    def _run(self, action: str, given: str) -> str | None:
        """What it printed; None if it has no such credentials."""
        if not _NAME.fullmatch(self.name):
            raise InvalidParameter(
                f"auth file {self.path} is malformed",
                details=f"{self.name!r} is not a credential helper's name",
                resolution="correct it or remove it",
            )
        try:
            result = subprocess.run(
                [self.program, action],
                input=given.encode(),
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._failed(str(error)) from None
        if not result.returncode:
            return result.stdout.decode(errors="replace")
        said = (result.stdout + result.stderr).decode(errors="replace").strip()
        if _NOT_FOUND in said:
            return None
        raise self._failed(said[:200] or f"exit code {result.returncode}")

    def _failed(self, why: str) -> Unauthorized:
        return Unauthorized(
            f"credential helper {self.program} failed",
            details=why,
            resolution=f"install or repair it, or take it out of {self.path}",
        )
