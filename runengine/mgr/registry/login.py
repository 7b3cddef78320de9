"""``login`` and ``logout``: credentials are tried before they are kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import InvalidParameter, Unauthorized
from runengine.registry import credentials as reading
from runengine.registry.auth_store import AuthStore
from runengine.registry.credentials import AuthFiles, Credentials
from runengine.registry.login import LoginClient, registry_of
from runengine.registry.reference import DOCKER_HUB

if TYPE_CHECKING:
    from runengine.config import Config


class LoginResult(NamedTuple):
    """Where credentials are kept now."""

    registry: str
    path: str  # the auth file
    helper: str  # the program that keeps the secret; empty: the file does, unencrypted
    hidden_by: str  # what has other credentials for the registry, and is asked first


def login(
    config: Config, server: str | None, username: str, password: str
) -> LoginResult:
    """Try the credentials at the registry, and keep them.

    Raises InvalidParameter, Unauthorized, Unavailable, NotFound.
    """
    registry = registry_of(server)
    token = check(config, registry, username, password)
    store = AuthStore(reading.login_path(os.environ))
    store.save(registry, Credentials(username, password, identity_token=token))
    helper = store.helper(registry)
    found = AuthFiles().find(registry, "")
    source = found.source if found else ""
    is_ours = not source or source.endswith((store.path, f"{store.path})"))
    is_ours = is_ours or os.path.realpath(source) == store.path
    return LoginResult(
        registry, store.path, helper.program if helper else "", "" if is_ours else source
    )


def check(config: Config, registry: str, username: str, password: str) -> str:
    """Whether the registry takes the credentials; the identity token that it gives for them."""
    for what, value in (("user name", username), ("password", password)):
        if not value:
            raise InvalidParameter(f"the {what} is empty")
    if ":" in username:
        raise InvalidParameter("a user name cannot have a colon")
    return try_at(config, registry, Credentials(username, password))


def try_at(config: Config, registry: str, found: Credentials) -> str:
    """The same for credentials of any kind."""
    with LoginClient(
        registry,
        found,
        insecure=config.insecure_registries,
        certs_dirs=config.certs_dirs,
    ) as client:
        return client.check()


def login_as_before(config: Config, server: str | None) -> str | None:
    """Try the credentials that are kept: the user's name; None if there are none.

    Raises Unauthorized, Unavailable, NotFound, InvalidParameter.
    """
    registry = registry_of(server)
    found = AuthFiles().find(registry, "")
    if found is None:
        return None
    try_at(config, registry, found)
    return found.username


def logout(server: str | None) -> tuple[str, bool]:
    """Forget a registry's credentials: how the registry is called, and whether there were any.

    Raises InvalidParameter, Unauthorized (a credential helper), EngineError.
    """
    registry = registry_of(server)
    was_in = AuthStore(reading.login_path(os.environ)).remove(registry)
    return (reading.HUB_SERVER if registry == DOCKER_HUB else registry), was_in


def auth(config: Config, document: dict[str, Any]) -> dict[str, str]:
    """Docker's ``/auth``: whether the credentials of the document are right; nothing is kept."""
    registry = registry_of(document.get("serveraddress"))
    username, password = str(document.get("username", "")), str(document.get("password", ""))
    identity = str(document.get("identitytoken", ""))
    if identity:
        token = try_at(config, registry, Credentials("", "", identity_token=identity))
    elif username and password:
        token = check(config, registry, username, password)
    else:
        raise Unauthorized("no credentials were given", resolution="send username and password")
    return {"Status": "Login Succeeded", "IdentityToken": token}
