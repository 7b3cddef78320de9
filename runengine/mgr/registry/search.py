"""``search``: repositories of a registry by a word in their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import InvalidParameter
from runengine.registry import reference
from runengine.registry.search import Found, SearchClient

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runengine.config import Config
    from runengine.registry.credentials import CredentialSource

DEFAULT_LIMIT, MOST = 25, 100
FILTERS = ("is-automated", "is-official", "stars")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class SearchResult(NamedTuple):
    """What was found, the most starred first, in the shape of Docker's ``/images/search``."""

    entries: list[dict[str, Any]]
    notice: str  # where it comes from, if not from a search of the registry's


def search(
    config: Config,
    text: str,
    *,
    limit: int = DEFAULT_LIMIT,
    filters: Mapping[str, Sequence[str]] | None = None,
    credentials: CredentialSource | None = None,
) -> SearchResult:
    """Look for ``[registry/]term``; without a registry in that of the settings.

    Raises InvalidParameter, Unauthorized, Unavailable.
    """
    registry, term = _parsed(text, config.search_registry)
    if not 1 <= limit <= MOST:
        raise InvalidParameter(f"limit {limit} is outside the range of [1, {MOST}]")
    accepts = _Filter(filters or {})
    notice = ""
    with SearchClient(
        registry,
        insecure=config.insecure_registries,
        credentials=credentials,
        certs_dirs=config.certs_dirs,
    ) as client:
        found = client.search(term, limit)
        if found is None:
            notice = f"registry {registry} has no search: names of its catalog with {term!r} in"
            found = [Found(name) for name in client.catalog() if term.lower() in name]
    chosen = sorted(filter(accepts, found), key=lambda one: (-one.stars, one.name))[:limit]
    prefix = "" if registry == reference.DOCKER_HUB else f"{registry}/"
    return SearchResult([_document(one, prefix) for one in chosen], notice)


def _parsed(text: str, default: str) -> tuple[str, str]:
    if "://" in text:
        raise InvalidParameter(
            f"invalid search {text!r}", resolution="write it as [host[:port]/]term"
        )
    first, slash, rest = text.partition("/")
    registry, term = default, text
    if slash and reference.is_registry(first):
        registry, term = first.lower(), rest
    if not term or not term.isprintable():
        raise InvalidParameter("there is no term to search for")
    if not reference.is_registry_host(registry):
        raise InvalidParameter(f"invalid registry {registry!r} to search in")
    return reference.canonical(registry), term


def _document(found: Found, prefix: str) -> dict[str, Any]:
    return {
        "name": prefix + found.name.removeprefix(prefix),
        "description": found.description,
        "star_count": found.stars,
        "is_official": found.is_official,
        "is_automated": found.is_automated,
    }


class _Filter:
    """Docker's filters of a search. Raises InvalidParameter for others."""

    def __init__(self, filters: Mapping[str, Sequence[str]]) -> None:
        unknown = sorted(set(filters) - set(FILTERS))
        if unknown:
            raise InvalidParameter(
                f"invalid filter {unknown[0]!r}", resolution=f"one of {', '.join(FILTERS)}"
            )
        self._official = _boolean(filters, "is-official")
        self._automated = _boolean(filters, "is-automated")
        self._stars = max((_number(value) for value in filters.get("stars", ())), default=0)

    def __call__(self, found: Found) -> bool:
        return (
            self._official in (None, found.is_official)
            and self._automated in (None, found.is_automated)
            and found.stars >= self._stars
        )


def _boolean(filters: Mapping[str, Sequence[str]], name: str) -> bool | None:
    values = filters.get(name, ())
    if not values:
        return None
    if values[0].lower() not in _BOOLEANS:
        raise InvalidParameter(f"invalid filter '{name}={values[0]}': true or false")
    return _BOOLEANS[values[0].lower()]


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise InvalidParameter(f"invalid filter 'stars={text}': a number")
    return int(text)
