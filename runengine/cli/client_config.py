"""What Docker's client configuration file says besides logins: proxies, formats, detach keys.

Source: Docker CLI reference, "Docker CLI configuration file (config.json) properties". Where there
is no such file, nothing is read and nothing imported.
"""

from __future__ import annotations

import os
from typing import Any

from runengine.cli import context

LIMIT_BYTES = 1 << 20
_PROXIES = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "noProxy": "NO_PROXY",
    "ftpProxy": "FTP_PROXY",
    "allProxy": "ALL_PROXY",
}


def text_of(key: str) -> str | None:
    """The text under ``key``, such as ``psFormat`` or ``detachKeys``."""
    found = _document().get(key)
    return found if isinstance(found, str) and found else None


def logins() -> list[str]:
    """Registries that there is a login for."""
    found = _document().get("auths")
    return sorted(found) if isinstance(found, dict) else []


def proxies() -> dict[str, str]:
    """Variables for containers and builds, in both spellings."""
    sections = _document().get("proxies")
    section = sections.get("default") if isinstance(sections, dict) else None
    if not isinstance(section, dict):
        return {}
    found = {name: section.get(key) for key, name in _PROXIES.items()}
    texts = {name: text for name, text in found.items() if isinstance(text, str) and text}
    return {**texts, **{name.lower(): text for name, text in texts.items()}}


def beside(variables: list[str]) -> list[str]:
    """``NAME=VALUE`` of the proxies, but for names that are among ``variables``, then those."""
    names = {variable.partition("=")[0] for variable in variables}
    return [
        *(f"{name}={text}" for name, text in proxies().items() if name not in names),
        *variables,
    ]


def _document() -> dict[str, Any]:
    """The file's content; a mistake in it is told, and keeps no command from its work."""
    directory = os.environ.get("DOCKER_CONFIG") or f"{os.environ.get('HOME') or '/root'}/.docker"
    path = f"{directory}/config.json"
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            data = file.read(LIMIT_BYTES)
    except OSError:
        return {}
    import json

    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        context.warn(f"{path} is not read: {error}")
        return {}
    return document if isinstance(document, dict) else {}
