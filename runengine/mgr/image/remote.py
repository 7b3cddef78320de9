"""A file on a web server as a stream to import from."""

from __future__ import annotations

from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from runengine import __version__
from runengine.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from typing import Self
    from urllib.response import addinfourl

TIMEOUT_S = 30.0
"""For an answer, and between any two pieces of it."""
_NOT_FOUND = (404, 410)
_HANDLERS = (
    ProxyHandler,  # by the environment, as curl
    HTTPHandler,
    HTTPSHandler,
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPRedirectHandler,
)
"""Nothing but the web: a redirect may not lead to a file of this host or to another protocol."""


class RemoteFile:
    """What an address gives, read once. Raises NotFound, Unavailable."""

    def __init__(self, url: str) -> None:
        self._url = url
        opener = OpenerDirector()
        for handler in _HANDLERS:
            opener.add_handler(handler())
        request = Request(url, headers={"User-Agent": f"runengine/{__version__}"})  # noqa: S310
        try:
            self._answer: addinfourl = opener.open(request, timeout=TIMEOUT_S)
        except HTTPError as error:
            kind = NotFound if error.code in _NOT_FOUND else Unavailable
            raise kind(f"cannot fetch {url}: {error.code} {error.reason}") from None
        except (URLError, HTTPException, OSError, ValueError) as error:
            raise self._unavailable(error) from None
        self._left = int(self._answer.headers.get("Content-Length") or -1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.close()

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, none at the end."""
        try:
            data = self._answer.read(size)
        except (HTTPException, OSError) as error:
            raise self._unavailable(error) from None
        if self._left >= 0:
            self._left -= len(data)
            if not data and self._left > 0:
                raise Unavailable(f"{self._url} broke off {self._left} bytes before its end")
        return data

    def _unavailable(self, error: Exception) -> Unavailable:
        reason = error.reason if isinstance(error, URLError) else error
        return Unavailable(f"cannot fetch {self._url}", details=str(reason))
