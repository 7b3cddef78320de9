"""Certificates for single registries, in Docker's layout: ``certs.d/HOST[:PORT]/``.

``*.crt`` are authorities, trusted for this host beside the system's; ``*.cert`` with ``*.key`` of
the same name is what we show to a registry that asks who we are. The first directory that has
anything for a host counts.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runengine.config import CERTS_DIRECTORIES
from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Sequence

SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
OTHER_NAMES = {"registry-1.docker.io": ("docker.io",)}
"""Directories for a host besides that of its own name."""


class HostFiles(NamedTuple):
    """What there is for one host."""

    directory: str
    authorities: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]  # certificate, key


class Certificates:
    """The files of all hosts; plain data, so that it pickles."""

    def __init__(self, directories: Sequence[str] = CERTS_DIRECTORIES) -> None:
        self.directories = tuple(directories)

    def find(self, host: str) -> HostFiles | None:
        """What there is for ``host`` (with its port, if it has one).

        Raises InvalidParameter for a certificate without its key, or an unreadable directory.
        """
        for directory in self.directories:
            for name in (host, *OTHER_NAMES.get(host, ())):
                if found := _read(f"{directory}/{name}"):
                    return found
        return None

    def has_authority(self, host: str) -> bool:
        """Whether there is an authority of its own to check ``host`` by."""
        found = self.find(host)
        return found is not None and bool(found.authorities)


def context(files: HostFiles, *, verify: bool) -> ssl.SSLContext:
    """TLS as these files want it. Raises InvalidParameter naming the file that is no good."""
    made = ssl.create_default_context(cafile=system_authorities())
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    for path in files.authorities:
        try:
            made.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(path, error) from None
    for certificate, key in files.pairs:
        try:
            # Without a password of our own, OpenSSL would ask for it on the terminal.
            made.load_cert_chain(certificate, key, password=lambda: b"")
        except (OSError, ssl.SSLError, ValueError) as error:
            raise _unusable(certificate, error) from None
    return made


def system_authorities() -> str | None:
    """The file of the authorities that this host trusts; None: OpenSSL's own default."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if given := os.environ.get(name):
            return given
    return SYSTEM_AUTHORITIES if Path(SYSTEM_AUTHORITIES).is_file() else None


def _read(directory: str) -> HostFiles | None:
    try:
        names = sorted(path.name for path in Path(directory).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidParameter(f"cannot read {directory}", details=error.strerror) from None
    authorities = tuple(f"{directory}/{name}" for name in names if name.endswith(".crt"))
    pairs = tuple(
        _pair(directory, name.removesuffix(".cert"), names)
        for name in names
        if name.endswith(".cert")
    )
    if not authorities and not pairs:
        return None
    return HostFiles(directory, authorities, pairs)


def _pair(directory: str, stem: str, names: Sequence[str]) -> tuple[str, str]:
    if f"{stem}.key" not in names:
        raise InvalidParameter(
            f"{directory}/{stem}.cert has no key",
            resolution=f"put it beside it as {stem}.key; authorities are named *.crt",
        )
    return f"{directory}/{stem}.cert", f"{directory}/{stem}.key"


def _unusable(path: str, error: Exception) -> InvalidParameter:
    why = getattr(error, "strerror", None) or getattr(error, "reason", None) or str(error)
    return InvalidParameter(
        f"cannot use the certificate {path}", details=why, resolution="correct it or remove it"
    )
