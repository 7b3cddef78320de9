"""Authorization headers, made by oras's backends; what a token service answers is checked here.

oras's ``TokenAuth`` neither bounds nor times nor checks the answer, so it asks through a door.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runengine.errors import Corrupt, Unauthorized, Unavailable
from runengine.registry import answers
from runengine.registry.auth import login_needed, refused_credentials
from runengine.registry.lean import oras, requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.registry.auth import Challenge
    from runengine.registry.credentials import Credentials
    from runengine.registry.mirrors import Endpoint

TOKEN_LIMIT_BYTES = 1 << 20
CLIENT_ID = "runengine"


class Authorizer:
    """Answers challenges by way of oras's backends for Basic and Bearer."""

    def __init__(
        self,
        session: requests.Session,
        verifies_tls: Callable[[str], bool],
        *,
        offline: bool = False,
    ) -> None:
        """``verifies_tls`` tells of a host whether its certificate is checked.

        ``offline`` asks token services for a lasting token too: it is in ``identity_token`` then.
        """
        self._session = session
        self._verifies_tls = verifies_tls
        self._offline = offline
        self.identity_token = ""

    def header(
        self, challenge: Challenge, endpoint: Endpoint, credentials: Credentials | None
    ) -> str:
        """The Authorization for a challenge. Raises Unauthorized, Unavailable, Corrupt."""
        if challenge.scheme == "basic" and credentials:
            backend = oras.auth.get_auth_backend("basic", self._session)
            # Always set: oras would else take $ORAS_USER and $ORAS_PASS for any registry.
            backend.set_basic_auth(credentials.username, credentials.password)
        else:
            backend = oras.auth.get_auth_backend("token", self._session)
            backend.set_token_auth(self._token(challenge, endpoint, credentials))
        return str(backend.get_auth_header()["Authorization"])

    def _token(
        self, challenge: Challenge, endpoint: Endpoint, credentials: Credentials | None
    ) -> str:
        if credentials and credentials.registry_token:
            return credentials.registry_token
        _check_realm(challenge, endpoint, credentials)
        door = _TokenDoor(self._session, endpoint, credentials, offline=self._offline)
        verify_tls = self._verifies_tls(urlsplit(challenge.realm).netloc)
        if credentials and credentials.identity_token:
            answer = door.exchange(challenge, credentials.identity_token, verify=verify_tls)
        else:
            answer = _ask_through_oras(door, challenge, credentials, verify_tls=verify_tls)
        if not answer or not isinstance(answer, str) or not answer.isprintable():
            raise Corrupt(f"token service {challenge.realm} sent no token")
        self.identity_token = door.identity_token
        return answer


def _ask_through_oras(
    door: _TokenDoor, challenge: Challenge, credentials: Credentials | None, *, verify_tls: bool
) -> Any:
    backend = oras.auth.get_auth_backend("token", door, tls_verify=verify_tls)
    wanted = oras.auth.utils.authHeader(
        {
            "realm": challenge.realm,
            "service": challenge.service or None,
            # Several scopes are a parameter each (token authentication), which requests makes
            # of a list.
            "scope": challenge.scope.split() or None,
        }
    )
    if credentials is None:
        return backend.request_anonymous_token(wanted)
    backend.set_basic_auth(credentials.username, credentials.password)
    return backend.request_token(wanted)


class _TokenDoor:
    """The session that oras asks for tokens: with a bound on the answer, and with our errors."""

    def __init__(
        self,
        session: requests.Session,
        endpoint: Endpoint,
        credentials: Credentials | None,
        *,
        offline: bool,
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._credentials = credentials
        self._offline = offline
        self.identity_token = ""

    def get(self, url: str, **more: Any) -> _TokenAnswer:
        """What ``TokenAuth.request_token`` calls."""
        if not self._offline:
            return self.request("GET", url, **more)
        offline = {"offline_token": "true", "client_id": CLIENT_ID}
        answer = self.request("GET", url, **{**more, "params": {**more["params"], **offline}})
        token = answer.json().get("refresh_token")
        self.identity_token = token if isinstance(token, str) and token.isprintable() else ""
        return answer

    def request(self, method: str, url: str, **more: Any) -> _TokenAnswer:
        """What ``TokenAuth.request_anonymous_token`` calls."""
        host = urlsplit(url).netloc
        try:
            with self._session.request(method, url, stream=True, **more) as response:
                data = answers.read_limited(
                    response, TOKEN_LIMIT_BYTES, f"the answer of {host}"
                )
        except answers.TransportError as error:
            raise answers.explain(error, f"token service {host}", host) from error
        self._check_status(response.status_code, url)
        return _TokenAnswer(data, url)

    def exchange(self, challenge: Challenge, identity_token: str, *, verify: bool) -> Any:
        """An access token for an identity token (distribution spec, OAuth2 flow; not in oras)."""
        form = {
            "grant_type": "refresh_token",
            "client_id": CLIENT_ID,
            "service": challenge.service,
            "scope": challenge.scope,
            "refresh_token": identity_token,
        }
        answer = self.request("POST", challenge.realm, data=form, verify=verify)
        return answer.json().get("access_token")

    def _check_status(self, status: int, url: str) -> None:
        if status == requests.codes.ok:
            return
        if status in (400, 401, 403):
            if self._credentials:
                raise refused_credentials(self._endpoint.registry, self._credentials, None)
            raise login_needed(self._endpoint, None)
        raise Unavailable(f"token service {url} answered {status}")


class _TokenAnswer:
    """As much of a response as oras looks at."""

    status_code = 200
    text = ""

    def __init__(self, data: bytes, url: str) -> None:
        self._data = data
        self._url = url

    def json(self) -> dict[str, Any]:
        import json

        try:
            document = json.loads(self._data)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise Corrupt(f"token service {self._url} did not answer with a JSON object")
        return document


def _check_realm(
    challenge: Challenge, endpoint: Endpoint, credentials: Credentials | None
) -> None:
    """A password that may only travel over TLS must not be lured into plain HTTP."""
    scheme, host, *_ = urlsplit(challenge.realm)
    if scheme not in ("http", "https") or not host:
        raise Corrupt(f"registry {endpoint.host} names no usable token service")
    if scheme == "http" and credentials and endpoint.schemes == ("https",):
        raise Unauthorized(
            f"registry {endpoint.host} wants the password sent to {challenge.realm}, unencrypted",
            resolution="refused; list the registry under insecure_registries to allow it",
        )
