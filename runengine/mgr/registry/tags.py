"""The tags that a repository has in its registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter
from runengine.registry import reference
from runengine.registry.client import RegistryClient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.config import Config
    from runengine.registry.credentials import CredentialSource


def tags(
    config: Config, text: str, credentials: CredentialSource | None
) -> tuple[str, Sequence[str]]:
    """The repository's name as users know it, and its tags. See ``RegistryMgr.tags``."""
    named = reference.parse(text, default_tag=None)
    if named.tag or named.digest:
        raise InvalidParameter(
            f"{text} is more than a repository", resolution=f"use {named.familiar_name}"
        )
    with RegistryClient(
        insecure=config.insecure_registries,
        mirrors=config.mirrors,
        credentials=credentials,
        certs_dirs=config.certs_dirs,
    ) as client:
        return named.familiar_name, client.tags(named)
