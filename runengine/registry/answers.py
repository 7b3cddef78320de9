"""Answers read with bounds, and failures of the network as one line with a remedy.

Imported on first use only, with ``transport``: requests costs some 60 ms.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

import urllib3

from runengine.errors import Corrupt, EngineError, Unavailable
from runengine.registry.lean import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

ERROR_BODY_LIMIT_BYTES = 16 << 10

TransportError = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)
"""What a request or a read may raise; ``explain`` turns it into an EngineError."""


class SchemeMismatch(Unavailable):
    """The host speaks TLS where we spoke plain HTTP, or the other way round."""


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


def release(response: requests.Response) -> None:
    """Be done with an answer whose body says nothing more: its connection serves again.

    Only who has read all of the body may keep the connection, so a short one is read.
    """
    with suppress(*TransportError):
        response.raw.read(ERROR_BODY_LIMIT_BYTES, decode_content=False)
    response.close()


def error_body(response: requests.Response) -> bytes:
    """The beginning of an error's body, or nothing if it cannot be read."""
    try:
        data = response.raw.read(ERROR_BODY_LIMIT_BYTES, decode_content=False)
    except TransportError:
        return b""
    finally:
        response.close()
    return bytes(data)


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
        resolution=f"put its authority into /etc/runengine/certs.d/{host}/ca.crt, or add "
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
