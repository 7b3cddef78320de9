"""How a registry is asked in this one call: ``--tls-verify``, ``--creds``, ``--authfile``.

Podman's users name these at each call. What holds for every call is in the configuration file
(docs/registries.md).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runengine.cli import context
from runengine.cli.flags import flag
from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    import click

    from runengine.registry.credentials import CredentialSource


def options(*, creds: bool = True) -> list[click.Option]:
    """The options; a login has no ``--creds``."""
    given = flag("--creds", help="Credentials for this call (USERNAME:PASSWORD)")
    return [
        authfile(),
        *([given] if creds else []),
        flag("--tls-verify", "bool", default=True,
             help="Require HTTPS and verify certificates (=false: or take what there is)"),
    ]


def authfile() -> click.Option:
    """The option alone."""
    return flag("--authfile", help="Path of the authentication file (instead of Docker's)")


def use_authfile(path: str | None) -> None:
    """Have this call keep and find credentials there."""
    if path:
        os.environ["REGISTRY_AUTH_FILE"] = path


def apply(ctx: click.Context, params: dict[str, Any], registry: str) -> CredentialSource | None:
    """Have the engine, which is not open yet, do as told; returns the credentials that are given.

    Raises InvalidParameter.
    """
    path = params["authfile"]
    if path and "creds" in params and not os.access(path, os.R_OK):
        raise InvalidParameter(f"cannot read the authentication file {path}")
    use_authfile(path)
    if not params["tls_verify"]:
        context.app_of(ctx).insecure = (registry,)
    given = params.get("creds")
    return _source(given, registry) if given else None


def apply_for(ctx: click.Context, params: dict[str, Any], name: str) -> CredentialSource | None:
    """The same for the registry of an image. Raises InvalidParameter."""
    from runengine.registry import reference

    return apply(ctx, params, reference.parse(name, default_tag=None).registry)


def apply_for_server(ctx: click.Context, params: dict[str, Any], server: str | None) -> None:
    """The same for what ``login`` is given. Raises InvalidParameter."""
    from runengine.registry.login import registry_of

    apply(ctx, params, registry_of(server))


def _source(given: str, registry: str) -> CredentialSource:
    from runengine.registry.credentials import Credentials, GivenCredentials

    username, colon, password = given.partition(":")
    if not username or not colon:
        raise InvalidParameter("invalid --creds: give USERNAME:PASSWORD")
    return GivenCredentials(registry, Credentials(username, password, source="--creds"))
