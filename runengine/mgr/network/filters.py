"""Filters of ``network ls`` and ``network prune``."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter
from runengine.linux import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from runengine.store.network_types import Network

    Test = Callable[[Network], bool]

_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")
_ALL_HOLD = ("label", "label!")


def for_list(filters: Mapping[str, Sequence[str]], used: Collection[str]) -> Test:
    """One test for all filters of a listing; ``used`` are ids of networks that somebody needs.

    Raises InvalidParameter.
    """

    def dangling(value: str) -> Test:
        word = value.lower()
        if word not in _TRUE + _FALSE:
            raise InvalidParameter(f"invalid filter 'dangling={value}': expected true or false")
        return lambda one: (not one.builtin and one.id not in used) == (word in _TRUE)

    return _compile(filters, {**_LIST, "dangling": dangling})


def for_prune(filters: Mapping[str, Sequence[str]]) -> Test:
    """One test for all filters of a prune. Raises InvalidParameter."""
    return _compile(filters, _PRUNE)


def _compile(
    filters: Mapping[str, Sequence[str]], known: Mapping[str, Callable[[str], Test]]
) -> Test:
    """Values of a filter are alternatives, but every label must hold."""
    tests = []
    for key, values in filters.items():
        if key not in known:
            raise InvalidParameter(
                f"invalid filter {key!r}", resolution=f"filters are: {' '.join(sorted(known))}"
            )
        tests.append((all if key in _ALL_HOLD else any, [known[key](value) for value in values]))
    return lambda one: all(join(test(one) for test in some) for join, some in tests)


def _pattern(field: str) -> Callable[[str], Test]:
    def by_pattern(value: str) -> Test:
        try:
            pattern = re.compile(value)
        except re.error as error:
            raise InvalidParameter(
                f"filter {value!r} is no regular expression: {error}"
            ) from None
        return lambda one: pattern.search(getattr(one, field)) is not None

    return by_pattern


def _driver(value: str) -> Test:
    return lambda one: one.driver == value


def _scope(value: str) -> Test:
    return lambda _: value == "local"


def _type(value: str) -> Test:
    if value not in ("builtin", "custom"):
        raise InvalidParameter(f"invalid filter 'type={value}': expected builtin or custom")
    return lambda one: one.builtin == (value == "builtin")


def _label(value: str) -> Test:
    key, equals, wanted = value.partition("=")
    return lambda one: key in one.labels and (not equals or one.labels[key] == wanted)


def _not_label(value: str) -> Test:
    holds = _label(value)
    return lambda one: not holds(one)


def _until(value: str) -> Test:
    from runengine.mgr.log_times import parse_time

    border_ns = parse_time(value, now_s=time.time())
    return lambda one: clock.parse_ns(one.created_at) < border_ns


_LIST: dict[str, Callable[[str], Test]] = {
    "driver": _driver,
    "id": _pattern("id"),
    "label": _label,
    "name": _pattern("name"),
    "scope": _scope,
    "type": _type,
}
_PRUNE: dict[str, Callable[[str], Test]] = {
    "label": _label,
    "label!": _not_label,
    "until": _until,
}
