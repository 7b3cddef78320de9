"""Where volume plugins are: sockets and files in Docker's places, and in the configuration file.

Source: Docker documentation, "Docker Plugin API", plugin discovery.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SOCKETS = "/run/docker/plugins"
SPECS = ("/etc/docker/plugins", "/usr/lib/docker/plugins")
MAX_SPEC_BYTES = 1 << 16
_UNIX = "unix://"


class Sockets:
    """The places to look in."""

    def __init__(
        self,
        named: Mapping[str, str],
        sockets: str = SOCKETS,
        specs: Sequence[str] = SPECS,
    ) -> None:
        self._named = named
        self._sockets = sockets
        self._specs = specs

    def find(self, name: str) -> str:
        """The socket of a plugin. Raises NotFound, InvalidParameter (not a unix socket)."""
        if name in self._named:
            return _path(self._named[name], f"volume_plugins.{name}")
        for candidate in (f"{name}.sock", f"{name}/{name}.sock"):
            path = f"{self._sockets}/{candidate}"
            if os.path.exists(path):
                return path
        for directory in self._specs:
            for file in (f"{name}.spec", f"{name}.json"):
                found = _read(f"{directory}/{file}")
                if found is not None:
                    return _path(found, f"{directory}/{file}")
        raise NotFound(
            f"volume driver {name} not found",
            resolution=f"drivers are local, tmpfs and plugins: {self._sockets}/{name}.sock, or"
            " volume_plugins in the configuration file, would be its socket",
        )

    def names(self) -> list[str]:
        """Every plugin that is announced somewhere; it may be none for volumes, or be gone."""
        found = [*self._named]
        for entry in _listing(self._sockets):
            name = entry.removesuffix(".sock")
            if name != entry or os.path.exists(f"{self._sockets}/{name}/{name}.sock"):
                found.append(name)
        for directory in self._specs:
            for entry in _listing(directory):
                name, dot, kind = entry.rpartition(".")
                if dot and kind in ("spec", "json"):
                    found.append(name)
        return sorted(set(found))


def _listing(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _read(path: str) -> str | None:
    """The address in a ``.spec`` or ``.json`` file; None where there is no such file."""
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_SPEC_BYTES).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidParameter(f"cannot read {path}: {error.strerror}") from None
    if path.endswith(".spec"):
        return text
    try:
        return str(json.loads(text)["Addr"])
    except (KeyError, TypeError, ValueError):
        raise InvalidParameter(f"{path} is no description of a plugin: it has no Addr") from None


def _path(address: str, where: str) -> str:
    """The path in ``unix:///path``, or the path itself."""
    path = address.removeprefix(_UNIX)
    if not path.startswith("/"):
        raise InvalidParameter(
            f"{where}: {address} is not the address of a unix socket",
            resolution="plugins are reached by unix:///path",
        )
    return path
