"""The tags of a repository, page by page (distribution-spec, "Content Discovery")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from runengine.errors import Corrupt
from runengine.registry import reference

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE_LIMIT_BYTES = 4 << 20
TAGS_LIMIT = 100_000
_NEXT = re.compile(r'<([^<>]+)>\s*;[^,]*\brel="?next"?')


def collect(repository: str, page: Callable[[str], tuple[bytes, str]]) -> list[str]:
    """Every tag, in the registry's order; ``page`` gives a path's document and its Link header.

    Raises Corrupt for a list that is none or does not end.
    """
    start = f"/v2/{repository}/tags/list"
    path: str | None = start
    found: dict[str, None] = {}
    while path is not None:
        before = len(found)
        data, link = page(path)
        found.update(dict.fromkeys(_tags(data, repository)))
        path = _next_path(link, start)
        if path is not None and (len(found) == before or len(found) > TAGS_LIMIT):
            raise Corrupt(f"the list of the tags of {repository} does not end")
    return list(found)


def _tags(data: bytes, repository: str) -> list[str]:
    import json

    from runengine.oci_spec.image import check_json_cost

    check_json_cost(data, PAGE_LIMIT_BYTES, f"the list of the tags of {repository}")
    try:
        tags = json.loads(data)["tags"] or []
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _malformed(repository, "it is not a document with tags") from error
    if not isinstance(tags, list):
        raise _malformed(repository, "its tags are not a list")
    for tag in tags:
        if not isinstance(tag, str) or not reference.is_tag(tag):
            raise _malformed(repository, f"{str(tag)[:200]!r} is not a tag")
    return tags


def _malformed(repository: str, why: str) -> Corrupt:
    return Corrupt(f"the list of the tags of {repository} is malformed", details=why)


def _next_path(link: str, start: str) -> str | None:
    """Where the list goes on: a path of the same list, whatever host the link names."""
    match = _NEXT.search(link)
    if match is None:
        return None
    parts = urlsplit(urljoin(start, match[1]))
    return f"{start}?{parts.query}" if parts.query else None
