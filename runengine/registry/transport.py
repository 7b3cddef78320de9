"""The way to a registry: oras's provider, with bounds on waiting and our choice of credentials.

Imported on first use only: oras and requests cost some 130 ms (docs/adr/0002-oras-as-transport.md
has what is oras's here, what is ours, and why).
"""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import urllib3

from runengine import __version__
from runengine.registry import answers, certificates, mirrors
from runengine.registry.certificates import Certificates
from runengine.registry.lean import oras, requests
from runengine.registry.tokens import Authorizer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

    from runengine.registry.auth import Grants
    from runengine.registry.mirrors import Endpoint

CONNECT_TIMEOUT_S = 10.0
MAX_REDIRECTS = 5
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
        certs: Certificates | None = None,
    ) -> None:
        """``verifies_tls`` is asked of token services; ``timeout_s`` bounds each wait."""
        super().__init__(endpoint.host, tls_verify=endpoint.verify_tls)
        self._endpoint = endpoint
        self._grants = grants
        self.session.max_redirects = MAX_REDIRECTS
        self.session.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
        # requests would put a password from ~/.netrc in the place of our token, on redirects too.
        self.session.trust_env = False
        self._adapter = Adapter(timeout_s, certs or Certificates())
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, self._adapter)
        self._authorizer = Authorizer(self.session, verifies_tls, offline=grants.is_login)
        self.auth = StepUp(endpoint, grants, self._authorizer)

    def send(
        self,
        method: str,
        scheme: str,
        path: str,
        headers: Mapping[str, str],
        body: Any = None,
        *,
        timeout_s: float | None = None,
    ) -> requests.Response:
        """An answer whose body is still to be read, authorised as far as that goes.

        ``body`` is bytes, or something with a length that can be iterated over again.
        ``timeout_s`` is for an answer that takes longer than others. Raises ``TransportError``,
        SchemeMismatch, and what a token service makes of it.
        """
        self.prefix = scheme
        url = f"{self.prefix}://{self.hostname}{path}"
        with self._adapter.waiting(timeout_s):
            response = self.do_request(url, method, body, dict(headers), stream=True)
        is_registrys = "json" in response.headers.get("Content-Type", "")
        if scheme == "http" and response.status_code == 400 and not is_registrys:
            body = answers.error_body(response)
            # A HEAD has no body to tell, and nothing else that would be a bad request.
            if method == "HEAD" or b"HTTPS" in body[:1024]:
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

    def send_elsewhere(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Any,
        *,
        verify: bool,
        timeout_s: float | None = None,
    ) -> requests.Response:
        """The same to another host that the registry named: it sees no authorization of ours."""
        with self._adapter.waiting(timeout_s):
            response: requests.Response = self.session.request(
                method, url, headers=dict(headers), data=body, stream=True, verify=verify
            )
            return response

    @property
    def has_answered(self) -> bool:
        """Whether the last request got as far as a challenge, so that the scheme is right."""
        return bool(self.auth.is_challenged)

    @property
    def identity_token(self) -> str:
        """What a token service gave to a login in the place of its password, if it did."""
        return self._authorizer.identity_token

    def close(self) -> None:
        """Close the connections now."""
        self.session.close()


class _Refused(Exception):
    """Nothing is left to try; ``response`` is the refusal."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(response.status_code)
        self.response = response


class StepUp(oras.auth.base.AuthBackend):  # type: ignore[misc]
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
        answers.release(original)
        return {**(headers or {}), "Authorization": authorization}, True


class Adapter(requests.adapters.HTTPAdapter):
    """What oras leaves to requests' defaults: timeouts, proxies and authorities, hop by hop."""

    def __init__(self, timeout_s: float, certs: Certificates) -> None:
        super().__init__()
        self._timeout = (min(CONNECT_TIMEOUT_S, timeout_s), timeout_s)
        self._certs = certs
        self._own: dict[tuple[str, bool], _OwnContext | None] = {}

    @contextmanager
    def waiting(self, timeout_s: float | None) -> Iterator[None]:
        """Within the block wait this long for an answer, if given."""
        before = self._timeout
        self._timeout = (before[0], timeout_s or before[1])
        try:
            yield
        finally:
            self._timeout = before

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002
        timeout: Any = None,
        verify: bool | str = True,  # noqa: FBT001, FBT002
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> requests.Response:
        """One request. Raises ``TransportError``, InvalidParameter (a host's certificates)."""
        if not verify:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        url = request.url or ""
        own = self._own_context(url, verify=bool(verify))
        return (own.send if own else super().send)(
            request,
            stream=stream,
            timeout=timeout or self._timeout,
            verify=(certificates.system_authorities() or True) if verify else False,
            cert=cert,
            proxies=proxies_for(url),
        )

    def _own_context(self, url: str, *, verify: bool) -> _OwnContext | None:
        """The adapter for a host that has certificates of its own."""
        scheme, host, *_ = urlsplit(url)
        if scheme != "https":
            return None
        key = host.lower(), verify
        if key not in self._own:
            files = self._certs.find(key[0])
            context = certificates.context(files, verify=verify) if files else None
            self._own[key] = _OwnContext(context) if context else None
        return self._own[key]

    def close(self) -> None:
        """Close the connections now: urllib3 leaves it to the garbage collector."""
        for own in (own for own in self._own.values() if own):
            _close_pools(own)
            own.close()
        _close_pools(self)
        super().close()


class _OwnContext(requests.adapters.HTTPAdapter):
    """Connections with a TLS context of their own, through a proxy as well."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **more)

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **more)


def _close_pools(adapter: requests.adapters.HTTPAdapter) -> None:
    managers = [getattr(adapter, "poolmanager", None), *adapter.proxy_manager.values()]
    for pools in (getattr(manager, "pools", {}) for manager in managers):
        for key in list(pools.keys()):
            pools[key].close()


def proxies_for(url: str) -> dict[str, str]:
    """The proxies by scheme that the environment wants for a URL; none for this machine."""
    if mirrors.is_loopback(urlsplit(url).netloc):
        return {}
    return requests.utils.get_environ_proxies(url)
