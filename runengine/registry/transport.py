"""The way to a registry: oras's provider, with bounds on waiting and our choice of credentials.

Imported on first use only: oras and requests cost some 130 ms (docs/adr/0002-oras-as-transport.md
has what is oras's here, what is ours, and why).
"""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import oras.provider
import urllib3
from oras.auth.base import AuthBackend
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from runengine import __version__
from runengine.registry import answers, mirrors
from runengine.registry.tokens import Authorizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import requests

    from runengine.registry.auth import Grants
    from runengine.registry.mirrors import Endpoint

CONNECT_TIMEOUT_S = 10.0
MAX_REDIRECTS = 5
SYSTEM_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
USER_AGENT = f"runengine/{__version__}"

# Without oras's decorator: it would try anything but a TLS error six times over 131 seconds.
_ask_once = inspect.unwrap(oras.provider.Registry.do_request)


class Registry(oras.provider.Registry):  # type: ignore[misc]
    """oras's registry for one endpoint: one host, one repository, so that its one token fits."""

    def __init__(
        self,
        endpoint: Endpoint,
        grants: Grants,
        *,
        verifies_tls: Callable[[str], bool],
        timeout_s: float,
    ) -> None:
        """``verifies_tls`` is asked of token services; ``timeout_s`` bounds each wait."""
        super().__init__(endpoint.host, tls_verify=endpoint.verify_tls)
        self._endpoint = endpoint
        self._grants = grants
        self.session.max_redirects = MAX_REDIRECTS
        self.session.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
        # requests would put a password from ~/.netrc in the place of our token, on redirects too.
        self.session.trust_env = False
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, Adapter(timeout_s))
        self.auth = StepUp(endpoint, grants, Authorizer(self.session, verifies_tls))

    def get(self, scheme: str, path: str, headers: Mapping[str, str]) -> requests.Response:
        """An answer whose body is still to be read, authorised as far as that goes.

        Raises ``TransportError``, SchemeMismatch, and what a token service makes of it.
        """
        self.prefix = scheme
        url = f"{self.prefix}://{self.hostname}{path}"
        response = self.do_request(url, headers=dict(headers), stream=True)
        if scheme == "http" and response.status_code == 400:
            body = answers.error_body(response)
            if b"HTTPS" in body[:1024]:
                raise answers.wants_tls_hint(f"registry {self.hostname}")
        return response

    def do_request(
        self,
        url: str,
        method: str = "GET",
        data: dict[str, Any] | bytes | None = None,
        headers: dict[str, str] | None = None,
        json: dict[str, Any] | None = None,
        stream: bool = False,  # noqa: FBT001, FBT002
    ) -> requests.Response:
        """oras's request, which answers challenges through ``auth``; a refusal is an answer too.

        Goes on to credentials where oras stops at an anonymous token. Raises ``TransportError``.
        """
        headers = dict(headers or {})
        if known := self._grants.header(self._endpoint):
            headers["Authorization"] = known
        self.auth.begin()
        try:
            response: requests.Response
            response = _ask_once(self, url, method, data, headers, json, stream)
            while self._grants.may_better(self._endpoint, response.status_code):
                headers, _ = self.auth.authenticate_request(response, headers)
                response = _ask_once(self, url, method, data, headers, json, stream)
        except _Refused as refused:
            return refused.response
        return response

    @property
    def has_answered(self) -> bool:
        """Whether the last request got as far as a challenge, so that the scheme is right."""
        return bool(self.auth.is_challenged)

    def close(self) -> None:
        """Close the connections now."""
        self.session.close()


class _Refused(Exception):
    """Nothing is left to try; ``response`` is the refusal."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(response.status_code)
        self.response = response


class StepUp(AuthBackend):  # type: ignore[misc]
    """The hook that oras's ``do_request`` calls on a 401 or 403: the next better authorization."""

    def __init__(self, endpoint: Endpoint, grants: Grants, authorizer: Authorizer) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._grants = grants
        self._authorizer = authorizer
        self.begin()

    def begin(self) -> None:
        """Forget what the last request tried."""
        self._steps: Iterator[str] | None = None
        self.is_challenged = False

    def authenticate_request(
        self,
        original: requests.Response,
        headers: dict[str, str] | None,
        refresh: bool = False,  # noqa: ARG002, FBT001, FBT002
    ) -> tuple[dict[str, str], bool]:
        """Headers to try next, and True. Raises ``_Refused`` at the end, Unauthorized."""
        self.is_challenged = True
        if self._steps is None:
            challenge = original.headers.get("WWW-Authenticate")
            self._steps = self._grants.step_up(self._endpoint, challenge, self._authorizer)
        try:
            authorization = next(self._steps, None)
        except BaseException:
            original.close()
            raise
        if authorization is None:
            raise _Refused(original)
        original.close()
        return {**(headers or {}), "Authorization": authorization}, True


class Adapter(HTTPAdapter):
    """What oras leaves to requests' defaults: timeouts, proxies and authorities, hop by hop."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self._timeout = (min(CONNECT_TIMEOUT_S, timeout_s), timeout_s)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002
        timeout: Any = None,
        verify: bool | str = True,  # noqa: FBT001, FBT002
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> requests.Response:
        """One request. Raises ``TransportError``."""
        if not verify:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        return super().send(
            request,
            stream=stream,
            timeout=timeout or self._timeout,
            verify=_authorities() if verify else False,
            cert=cert,
            proxies=_proxies(request.url or ""),
        )

    def close(self) -> None:
        """Close the connections now: urllib3 leaves it to the garbage collector."""
        pools = getattr(getattr(self, "poolmanager", None), "pools", {})
        for key in list(pools.keys()):
            pools[key].close()
        super().close()


def _authorities() -> str | bool:
    """Where the trusted certificates are; requests' own bundle knows no company's."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if given := os.environ.get(name):
            return given
    return SYSTEM_CERTIFICATES if Path(SYSTEM_CERTIFICATES).is_file() else True


def _proxies(url: str) -> dict[str, str]:
    return {} if mirrors.is_loopback(urlsplit(url).netloc) else get_environ_proxies(url)
