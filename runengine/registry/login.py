"""Asking a registry whether it takes credentials, and for a token that may take their place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.errors import InvalidParameter, NotFound, Unavailable
from runengine.registry import auth, mirrors, reference
from runengine.registry.client import RegistryClient
from runengine.registry.credentials import GivenCredentials, normalised
from runengine.registry.patience import BUSY

if TYPE_CHECKING:
    from runengine.registry.credentials import Credentials
    from runengine.registry.mirrors import Endpoint

ROOT = "/v2/"


class LoginClient(RegistryClient):
    """Tries credentials at one registry."""

    def __init__(self, registry: str, credentials: Credentials, **options: Any) -> None:
        super().__init__(**options)
        self._grants = auth.Grants(
            GivenCredentials(registry, credentials), actions=auth.LOGIN
        )
        self._credentials = credentials
        self.endpoint = mirrors.endpoint(mirrors.api_host(registry), "", self._trust)

    def check(self) -> str:
        """The identity token that the registry gives for the credentials; often none.

        Raises Unauthorized, Unavailable, NotFound (it is no registry).
        """
        response = self._send(self.endpoint, ROOT, {})
        status = response.status_code
        if status in auth.REFUSED:
            raise self._refusal(response, self.endpoint, "the login")
        response.close()
        if status in BUSY:
            raise Unavailable(f"registry {self.endpoint.host} answered {status} to the login")
        if status != 200:
            raise NotFound(
                f"there is no registry at {self.endpoint.host}",
                details=f"it answered {status} to {ROOT}",
            )
        return self._identity_token(self.endpoint)

    def _identity_token(self, endpoint: Endpoint) -> str:
        return self._open(endpoint).identity_token


def registry_of(server: str | None) -> str:
    """The registry that a user means by ``server``; None is Docker Hub.

    Raises InvalidParameter for what is not ``[scheme://]host[:port][/v1|/v2]``.
    """
    if not server:
        return reference.DOCKER_HUB
    registry = normalised(server.strip())
    if not reference.is_registry_host(registry):
        raise InvalidParameter(
            f"invalid registry {server!r}", resolution="write it as host[:port]"
        )
    return registry
