"""Filters of ``volume ls`` and ``volume prune``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from runengine.store.volumes import Volume

    Test = Callable[[Volume], bool]

_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")
_ALL_HOLD = ("label", "label!")


def for_list(filters: Mapping[str, Sequence[str]], used: Collection[str]) -> Test:
    """One test for all filters of a listing; ``used`` are the volumes that somebody needs.

    Raises InvalidParameter.
    """

    def dangling(value: str) -> Test:
        wanted = _boolean("dangling", value)
        return lambda one: (one.name not in used) == wanted

    return _compile(filters, {**_LIST, "dangling": dangling})


def for_prune(filters: Mapping[str, Sequence[str]]) -> Test:
    """One test for all filters of a prune: anonymous volumes only, unless ``all`` says so.

    Raises InvalidParameter.
    """
    rest = {key: values for key, values in filters.items() if key != "all"}
    everything = True in {_boolean("all", value) for value in filters.get("all", ())}
    test = _compile(rest, _PRUNE)
    return lambda one: (everything or one.anonymous) and test(one)


def _compile(
    filters: Mapping[str, Sequence[str]], known: Mapping[str, Callable[[str], Test]]
) -> Test:
    """Values of a filter are alternatives, but every label must hold."""
    tests = []
    for key, values in filters.items():
        if key not in known:
            names = sorted({*known, "all"} if known is _PRUNE else known)
            raise InvalidParameter(
                f"invalid filter {key!r}", resolution=f"filters are: {' '.join(names)}"
            )
        tests.append((all if key in _ALL_HOLD else any, [known[key](value) for value in values]))
    return lambda one: all(join(test(one) for test in some) for join, some in tests)


def _boolean(key: str, value: str) -> bool:
    word = value.lower()
    if word not in _TRUE + _FALSE:
        raise InvalidParameter(f"invalid filter '{key}={value}': expected true or false")
    return word in _TRUE


def _name(value: str) -> Test:
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise InvalidParameter(f"filter {value!r} is no regular expression: {error}") from None
    return lambda one: pattern.search(one.name) is not None


def _driver(value: str) -> Test:
    return lambda one: one.driver == value


def _label(value: str) -> Test:
    key, equals, wanted = value.partition("=")
    return lambda one: key in one.labels and (not equals or one.labels[key] == wanted)


def _not_label(value: str) -> Test:
    holds = _label(value)
    return lambda one: not holds(one)


_LIST: dict[str, Callable[[str], Test]] = {"driver": _driver, "label": _label, "name": _name}
_PRUNE: dict[str, Callable[[str], Test]] = {"label": _label, "label!": _not_label}
