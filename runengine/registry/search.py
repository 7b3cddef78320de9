"""Looking for repositories: the search of v1, and the catalog where there is none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode, urljoin, urlsplit

from runengine.errors import Unavailable
from runengine.registry import auth, mirrors, reference
from runengine.registry.client import RegistryClient

if TYPE_CHECKING:
    from collections.abc import Iterator

HUB_SEARCH_HOST = "index.docker.io"
ANSWER_LIMIT_BYTES = 8 << 20
CATALOG_PAGE = 1000
CATALOG_LIMIT = 100_000
_NEXT = 'rel="next"'


class Found(NamedTuple):
    """A repository."""

    name: str
    description: str = ""
    stars: int = 0
    is_official: bool = False
    is_automated: bool = False


class SearchClient(RegistryClient):
    """Searches one registry."""

    def __init__(self, registry: str, **options: Any) -> None:
        super().__init__(**options)
        self.registry = registry
        is_hub = registry == reference.DOCKER_HUB
        host = HUB_SEARCH_HOST if is_hub else registry
        self.endpoint = mirrors.endpoint(host, "", self._trust)

    def search(self, term: str, limit: int) -> list[Found] | None:
        """What the registry finds; None if it has no search.

        Raises Unauthorized, Unavailable, Corrupt.
        """
        document = self._document(f"/v1/search?{urlencode({'q': term, 'n': limit})}")
        results = document.get("results") if document is not None else None
        if not isinstance(results, list):
            return None
        return [_found(entry) for entry in results if isinstance(entry, dict)]

    def catalog(self) -> Iterator[str]:
        """Names of all repositories, page by page. Raises Unauthorized, Unavailable, Corrupt."""
        path: str | None = f"/v2/_catalog?n={CATALOG_PAGE}"
        count = 0
        while path and count < CATALOG_LIMIT:
            document = self._document(path)
            names = document.get("repositories") if document is not None else None
            if not isinstance(names, list):
                raise Unavailable(
                    f"registry {self.registry} has neither a search nor a catalog",
                    resolution="ask its owner for the names of its repositories",
                )
            yield from (name for name in names if isinstance(name, str))
            count += len(names)
            path = self._next if names else None

    def _document(self, path: str) -> dict[str, Any] | None:
        """The object at a path; None if there is none."""
        self._next: str | None = None
        response = self._send(self.endpoint, path, {"Accept": "application/json"})
        status = response.status_code
        if status in auth.REFUSED or status == 429 or status >= 500:
            raise self._refusal(response, self.endpoint, "the search")
        try:
            data = self._read(response, ANSWER_LIMIT_BYTES, "the answer", self.endpoint)
        finally:
            response.close()
        self._next = _next_page(path, response.headers.get("Link", ""))
        try:
            document = json.loads(data) if status == 200 else None
        except (ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None


def _next_page(asked: str, link: str) -> str | None:
    """The path that a Link header leads to; always at the same host (RFC 8288)."""
    target, _, relation = link.partition(";")
    if _NEXT not in relation:
        return None
    try:
        following = urlsplit(urljoin(asked, target.strip("<> ")))
    except ValueError:
        return None
    path = following._replace(scheme="", netloc="", fragment="").geturl()
    return path if path.startswith("/") else None


def _found(entry: dict[str, Any]) -> Found:
    stars = entry.get("star_count")
    return Found(
        str(entry.get("name") or ""),
        str(entry.get("description") or ""),
        stars if isinstance(stars, int) else 0,
        entry.get("is_official") is True,
        entry.get("is_automated") is True,
    )
