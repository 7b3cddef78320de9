"""HTTP to registries: requests sessions as oras uses them, with timeouts and clear errors.

Imported on first use only: requests costs some 60 ms. ``oras.provider`` would cost 40 ms more
(jsonschema) and gives nothing that a verified, resumable pull could use, so only oras's token
authentication is taken, and only when a registry asks for it.
"""

from __future__ import annotations

import ssl
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import urllib3

from runengine import __version__
from runengine.errors import Corrupt, EngineError, Unauthorized, Unavailable
from runengine.registry import mirrors
from runengine.registry.auth import login_needed, refused_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runengine.registry.auth import Challenge
    from runengine.registry.credentials import Credentials
    from runengine.registry.mirrors import Endpoint

CONNECT_TIMEOUT_S = 10.0
MAX_REDIRECTS = 5
TOKEN_LIMIT_BYTES = 1 << 20
ERROR_BODY_LIMIT_BYTES = 16 << 10
SYSTEM_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
USER_AGENT = f"runengine/{__version__}"

TransportError = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)
"""What a request or a read may raise; ``explain`` turns it into an EngineError."""


class SchemeMismatch(Unavailable):
    """The host speaks TLS where we spoke plain HTTP, or the other way round."""


class Session(requests.Session):
    """A session with timeouts, without cookies, that takes no password from ~/.netrc."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self.timeout = (min(CONNECT_TIMEOUT_S, timeout_s), timeout_s)
        self.max_redirects = MAX_REDIRECTS
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
        # requests would put a password from ~/.netrc in the place of our token.
        self.auth = _keep_headers
        if Path(SYSTEM_CERTIFICATES).is_file():
            self.verify = SYSTEM_CERTIFICATES

    def close(self) -> None:
        """Close the connections now: urllib3 leaves it to the garbage collector."""
        for adapter in self.adapters.values():
            pools = getattr(getattr(adapter, "poolmanager", None), "pools", {})
            for key in list(pools.keys()):
                pools[key].close()
        super().close()

    def fetch(
        self, url: str, headers: dict[str, str], *, verify_tls: bool, **more: Any
    ) -> requests.Response:
        """One GET whose body is still to be read. Raises ``TransportError``."""
        if mirrors.is_loopback(urlsplit(url).netloc):
            more["proxies"] = {"http": None, "https": None, "all": None}
        if not verify_tls:
            more["verify"] = False
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        more.setdefault("method", "GET")
        return self.request(
            url=url, headers=headers, stream=True, timeout=self.timeout, **more
        )


def _keep_headers(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def read_limited(response: requests.Response, limit: int, name: str) -> bytes:
    """The whole body, undecoded. Raises Corrupt beyond ``limit`` bytes, TransportError."""
    announced = response.headers.get("Content-Length", "")
    if announced.isdigit() and int(announced) > limit:
        raise Corrupt(f"{name} has {announced} bytes, more than the limit of {limit}")
    pieces, total = [], 0
    while piece := response.raw.read(64 << 10, decode_content=False):
        total += len(piece)
        if total > limit:
            raise Corrupt(f"{name} has more than the limit of {limit} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def error_body(response: requests.Response) -> bytes:
    """The beginning of an error's body, or nothing if it cannot be read."""
    try:
        data = response.raw.read(ERROR_BODY_LIMIT_BYTES, decode_content=False)
    except TransportError:
        return b""
    finally:
        response.close()
    return bytes(data)


class Tokens:
    """Bearer tokens by way of oras's ``TokenAuth``, which neither bounds nor checks the answer."""

    def __init__(self, session: Session, verify_tls: Callable[[str], bool]) -> None:
        self._session = session
        self._verify_tls = verify_tls

    def token(
        self, challenge: Challenge, endpoint: Endpoint, credentials: Credentials | None
    ) -> str:
        """A token for the challenge. Raises Unauthorized, Unavailable, Corrupt."""
        _check_realm(challenge, endpoint, credentials)
        door = _TokenDoor(self._session, endpoint, credentials, self._verify_tls)
        if credentials and credentials.identity_token:
            answer = door.exchange(challenge, credentials.identity_token).get("access_token")
        else:
            answer = _ask_through_oras(door, challenge, credentials)
        if not answer or not isinstance(answer, str) or not answer.isprintable():
            raise Corrupt(f"token service {challenge.realm} sent no token")
        return answer


def _ask_through_oras(
    door: _TokenDoor, challenge: Challenge, credentials: Credentials | None
) -> Any:
    from oras.auth.token import TokenAuth
    from oras.auth.utils import authHeader

    backend = TokenAuth()
    backend.session = door
    backend._tls_verify = True
    wanted = {
        "realm": challenge.realm,
        "service": challenge.service or None,
        "scope": challenge.scope or None,
    }
    if credentials is None:
        return backend.request_anonymous_token(authHeader(wanted))
    backend.set_basic_auth(credentials.username, credentials.password)
    return backend.request_token(authHeader(wanted))


class _TokenDoor:
    """The session that oras asks for tokens: bounded, timed, and with our errors."""

    def __init__(
        self,
        session: Session,
        endpoint: Endpoint,
        credentials: Credentials | None,
        verify_tls: Callable[[str], bool],
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._credentials = credentials
        self._verify_tls = verify_tls

    def get(
        self,
        url: str,
        *,
        params: dict[str, str],
        headers: dict[str, str] | None = None,
        verify: object = None,  # noqa: ARG002
    ) -> _TokenAnswer:
        """What ``TokenAuth.request_token`` calls."""
        return self._ask(url, headers or {}, params=params)

    def request(self, method: str, url: str, **more: Any) -> _TokenAnswer:  # noqa: ARG002
        """What ``TokenAuth.request_anonymous_token`` calls."""
        return self.get(url, **more)

    def exchange(self, challenge: Challenge, identity_token: str) -> dict[str, Any]:
        """An access token for an identity token (distribution spec, OAuth2 flow)."""
        form = {
            "grant_type": "refresh_token",
            "client_id": "runengine",
            "service": challenge.service,
            "scope": challenge.scope,
            "refresh_token": identity_token,
        }
        return self._ask(challenge.realm, {}, method="POST", data=form).json()

    def _ask(self, url: str, headers: dict[str, str], **more: Any) -> _TokenAnswer:
        host = urlsplit(url).netloc
        try:
            with self._session.fetch(
                url, headers, verify_tls=self._verify_tls(host), **more
            ) as response:
                data = read_limited(response, TOKEN_LIMIT_BYTES, f"the answer of {host}")
        except TransportError as error:
            raise explain(error, f"token service {host}", host) from error
        self._check_status(response.status_code, url)
        return _TokenAnswer(data, url)

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


def explain(error: BaseException, what: str, host: str) -> EngineError:
    """An error of the transport as one line: what could not be done, and the remedy."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _untrusted(cause, what, host)
    text = " ".join(str(cause) for cause in causes)
    for kind, brief, resolution in _EXPLANATIONS:
        if any(isinstance(cause, kind) for cause in causes):
            return Unavailable(
                brief.format(what=what), resolution=resolution.format(host=host) or None
            )
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return _tls_failed(text, what, host)
    return Unavailable(f"cannot reach {what}", details=_shortest(causes))


_EXPLANATIONS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str, str], ...]
_EXPLANATIONS = (
    (
        urllib3.exceptions.NameResolutionError,
        "cannot reach {what}: its host name is not known",
        "check the spelling of {host} and the name service",
    ),
    (
        ConnectionRefusedError,
        "cannot reach {what}: connection refused",
        "check that it runs at {host}, and the port",
    ),
    (
        urllib3.exceptions.NewConnectionError,
        "cannot reach {what}: no way to its address",
        "check the network and the address {host}",
    ),
    (
        (requests.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError),
        "cannot reach {what}: no connection in time",
        "check the network and the address {host}",
    ),
    (
        (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError, TimeoutError),
        "no answer from {what} in time",
        "try again: what was downloaded is kept",
    ),
    (requests.TooManyRedirects, "{what} redirects in circles", ""),
    (
        (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError),
        "cannot reach {what} through the proxy",
        "check HTTPS_PROXY and NO_PROXY",
    ),
    (
        (requests.exceptions.ChunkedEncodingError, urllib3.exceptions.IncompleteRead),
        "{what} broke off the transfer",
        "try again: what was downloaded is kept",
    ),
)


_PLAIN_HTTP_SIGNS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "RECORD_LAYER_FAILURE",
    "UNKNOWN_PROTOCOL",
)


def is_scheme_mismatch(error: BaseException, scheme: str) -> bool:
    """Whether the failure looks like TLS against plain HTTP, before any answer came."""
    causes = list(_causes(error))
    if scheme == "https":
        text = " ".join(str(cause) for cause in causes)
        return any(isinstance(cause, ssl.SSLError) for cause in causes) and _is_plain_http(text)
    return any(
        isinstance(cause, (urllib3.exceptions.ProtocolError, ConnectionResetError))
        for cause in causes
    )


def _is_plain_http(text: str) -> bool:
    return any(sign in text for sign in _PLAIN_HTTP_SIGNS)


def plain_http_hint(what: str, host: str) -> SchemeMismatch:
    """A registry that speaks plain HTTP and is not listed for it."""
    return SchemeMismatch(
        f"{what} speaks plain HTTP, not HTTPS",
        resolution=f'if it is trusted, add "{host}" to insecure_registries in '
        "/etc/runengine/config.json",
    )


def wants_tls_hint(what: str) -> SchemeMismatch:
    """A registry that speaks HTTPS where plain HTTP was asked for."""
    return SchemeMismatch(
        f"{what} speaks HTTPS, not plain HTTP", resolution="write https:// in its setting"
    )


def _tls_failed(text: str, what: str, host: str) -> EngineError:
    if _is_plain_http(text):
        return plain_http_hint(what, host)
    return Unavailable(f"no TLS connection to {what}", details=text[:200])


def _untrusted(cause: ssl.SSLCertVerificationError, what: str, host: str) -> Unavailable:
    return Unavailable(
        f"the certificate of {what} is not trusted",
        details=getattr(cause, "verify_message", None) or str(cause),
        resolution="install its authority with update-ca-certificates, or add "
        f'"{host}" to insecure_registries in /etc/runengine/config.json',
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what is wrapped in it: requests and urllib3 nest by args and ``reason``."""
    pending, seen = [error], set[int]()
    while pending:
        current = pending.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [current.__cause__, current.__context__, getattr(current, "reason", None)]
        pending += [each for each in (*inner, *current.args) if isinstance(each, BaseException)]


def _shortest(causes: list[BaseException]) -> str:
    return min((str(cause) for cause in causes if str(cause)), key=len, default="")[:200]
