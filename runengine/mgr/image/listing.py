"""Images in the shape of Docker's ``/images/json``, and its filters."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import InvalidParameter, StateError
from runengine.mgr.image import naming

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runengine.mgr.image.context import ImageContext
    from runengine.store.images import Images, StoredImage

FILTERS = frozenset({"before", "since", "reference", "label", "dangling", "until"})
_ONE_VALUE = ("before", "since", "dangling", "until")
_YES = frozenset({"1", "t", "true"})
_NO = frozenset({"0", "f", "false"})


class Entry(NamedTuple):
    """An image on its way through the filters."""

    image: StoredImage
    config: dict[str, Any]  # the image config document
    created_s: float  # when it was built, seconds since the epoch
    tags: list[str]  # as Docker shows them
    digests: list[str]

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the image's config section."""
        return section(self.config).get("Labels") or {}


def document(image: StoredImage) -> dict[str, Any]:
    """The image config (image-spec, config.md) of a stored image. Raises StateError."""
    parsed = _parsed(image)
    if parsed is None:
        raise StateError(
            f"the record of image {image.image_id} is damaged",
            resolution=f"runengine image verify --repair {image.image_id[7:19]}",
        )
    return parsed


def readable(image: StoredImage) -> dict[str, Any]:
    """The same for those who go on without: empty where the record is damaged."""
    return _parsed(image) or {}


def _parsed(image: StoredImage) -> dict[str, Any] | None:
    try:
        parsed = json.loads(image.config)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) and "rootfs" in parsed else None


def section(config: Mapping[str, Any]) -> dict[str, Any]:
    """The execution parameters of an image config; empty where it has none."""
    return config.get("config") or {}


def created_s(config: Mapping[str, Any]) -> float:
    """When the image was built, seconds since the epoch; 0 where it does not say, or not well."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(
            str(config.get("created") or "1970-01-01T00:00:00Z")
        ).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def listed(
    context: ImageContext,
    filters: Mapping[str, Sequence[str]] | None = None,
    *,
    usage: bool = False,
) -> list[dict[str, Any]]:
    """Every image that passes the filters, the newest first, as ``/images/json`` shows it.

    With ``usage`` also how much each shares with others and how many containers use it. Raises
    InvalidParameter for an unknown filter or a bad value, NotFound for an unknown image in
    ``before`` or ``since``.
    """
    check(filters or {}, FILTERS)
    entries = matching(context.store.images, filters or {})
    entries.sort(key=lambda entry: entry.created_s, reverse=True)
    summaries = [_summary(entry) for entry in entries]
    if usage:
        from runengine.mgr.image import sharing

        shares = sharing.shares(context)
        for summary in summaries:
            summary["SharedSize"] = shares[summary["Id"]].shared_bytes
            summary["Containers"] = shares[summary["Id"]].containers
    return summaries


def matching(images: Images, filters: Mapping[str, Sequence[str]]) -> list[Entry]:
    """Every image that passes the filters, which were checked."""
    entries = _entries(images)
    return _filtered(images, entries, filters) if filters else entries


def _entries(images: Images) -> list[Entry]:
    names: dict[str, list[str]] = {}
    for row in images.names():
        names.setdefault(row.image_id, []).append(row.name)
    entries = []
    for image in images.all():
        config = readable(image)
        tags, digests = naming.shown(names.get(image.image_id, []))
        entries.append(Entry(image, config, created_s(config), tags, digests))
    return entries


def _summary(entry: Entry) -> dict[str, Any]:
    return {
        "Id": entry.image.image_id,
        "ParentId": "",
        "RepoTags": entry.tags,
        "RepoDigests": entry.digests,
        "Created": int(entry.created_s),
        "Size": entry.image.size_bytes,
        "SharedSize": -1,
        "VirtualSize": entry.image.size_bytes,
        "Labels": entry.labels,
        "Containers": -1,
    }


def check(filters: Mapping[str, Sequence[str]], known: frozenset[str]) -> None:
    """Raise InvalidParameter for a filter that is not known, or given too often."""
    unknown = sorted(set(filters) - known)
    if unknown:
        raise InvalidParameter(
            f"invalid filter '{unknown[0]}'", resolution=f"use one of {', '.join(sorted(known))}"
        )
    for key in _ONE_VALUE:
        if len(filters.get(key, ())) > 1:
            raise InvalidParameter(f"can't use filter '{key}' more than once")


def _filtered(
    images: Images, entries: list[Entry], filters: Mapping[str, Sequence[str]]
) -> list[Entry]:
    for text in filters.get("before", ()):
        limit = _built(images, text)
        entries = [entry for entry in entries if entry.created_s < limit]
    for text in filters.get("since", ()):
        limit = _built(images, text)
        entries = [entry for entry in entries if entry.created_s > limit]
    for text in filters.get("until", ()):
        limit = _moment(text)
        entries = [entry for entry in entries if entry.created_s < limit]
    for text in filters.get("dangling", ()):
        wanted = truth(text)
        entries = [entry for entry in entries if _is_dangling(entry, wanted=wanted)]
    for text in filters.get("label", ()):
        entries = [entry for entry in entries if has_label(entry.labels, text)]
    for text in filters.get("label!", ()):
        entries = [entry for entry in entries if not has_label(entry.labels, text)]
    if filters.get("reference"):
        entries = _matching(entries, filters["reference"])
    return entries


def _built(images: Images, text: str) -> float:
    return created_s(document(naming.find(images, text).image))


def _moment(text: str) -> float:
    from runengine.mgr.log_times import parse_time

    return parse_time(text, time.time()) / 1e9


def truth(text: str) -> bool:
    """A filter's yes or no. Raises InvalidParameter."""
    if text.lower() in _YES | _NO:
        return text.lower() in _YES
    raise InvalidParameter(f"invalid filter 'dangling={text}'", resolution="use true or false")


def _is_dangling(entry: Entry, *, wanted: bool) -> bool:
    """An image known by digest only is neither: it is shown with and without the filter."""
    if wanted:
        return not entry.tags
    return bool(entry.tags or entry.digests)


def has_label(labels: Mapping[str, str], text: str) -> bool:
    """Whether ``key`` is there, or ``key=value`` is so."""
    key, equals, value = text.partition("=")
    return key in labels and (not equals or labels[key] == value)


def _matching(entries: list[Entry], patterns: Sequence[str]) -> list[Entry]:
    """Only the names that match stay, and the images that keep one."""
    expressions = [glob(pattern) for pattern in patterns]

    def keep(names: list[str], separator: str) -> list[str]:
        return [
            name
            for name in names
            if any(
                expression.fullmatch(name) or expression.fullmatch(_bare(name, separator))
                for expression in expressions
            )
        ]

    narrowed = [
        entry._replace(tags=keep(entry.tags, ":"), digests=keep(entry.digests, "@"))
        for entry in entries
    ]
    return [entry for entry in narrowed if entry.tags or entry.digests]


def _bare(name: str, separator: str) -> str:
    return name.rpartition(separator)[0]


def glob(pattern: str) -> re.Pattern[str]:
    r"""A shell pattern as Go's path.Match reads it: ``* ? [a-z] [^a-z] \x``; no star crosses '/'.

    Raises InvalidParameter for an unfinished class or escape.
    """
    expression, position = [], 0
    while position < len(pattern):
        match = _TOKEN.match(pattern, position)
        if match is None:
            raise InvalidParameter(f"invalid reference filter {pattern!r}: not a pattern")
        expression.append(_translated(match))
        position = match.end()
    try:
        return re.compile("".join(expression))
    except re.error:
        raise InvalidParameter(f"invalid reference filter {pattern!r}: not a pattern") from None


_TOKEN = re.compile(
    r"(?P<star>\*+)|(?P<any>\?)|\[(?P<negated>\^?)(?P<set>(?:\\.|[^\]\\])+)\]"
    r"|\\(?P<escaped>.)|(?P<plain>[^\[\\*?])",
    re.DOTALL,
)


def _translated(match: re.Match[str]) -> str:
    if match["star"]:
        return "[^/]*"
    if match["any"]:
        return "[^/]"
    if match["set"]:
        return f"[{match['negated']}{_class(match['set'])}]"
    return re.escape(match["escaped"] or match["plain"])


def _class(text: str) -> str:
    parts = re.findall(r"\\.|.", text, re.DOTALL)
    return "".join(part if part == "-" else re.escape(part[-1]) for part in parts)
