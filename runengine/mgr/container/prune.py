"""``container prune``: every container that does not run goes."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import Conflict, InvalidParameter, NotFound, TimedOut
from runengine.linux import clock
from runengine.mgr.container import observe, pending, remove, sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runengine.mgr.container.context import Context
    from runengine.store.containers import Record

    Test = Callable[[Record], bool]

ENDED = frozenset({"created", "exited"})


class Pruned(NamedTuple):
    """What a prune removed."""

    removed: list[str]
    """Ids."""
    freed_bytes: int
    """Of their writable layers."""


def prune(context: Context, filters: Mapping[str, Sequence[str]]) -> Pruned:
    """Remove the containers that neither run nor are to be restarted; volumes stay.

    Filters: label, label!, until. One that is started meanwhile stays. Raises InvalidParameter.
    """
    tests = [_compile(key, value) for key, values in filters.items() for value in values]
    removed, freed = [], 0
    for record in context.store.containers.all():
        state = pending.shown(context, record, observe.observe(context, record))
        if state["Status"] not in ENDED or not all(test(record) for test in tests):
            continue
        size = max(0, sizes.writable_layer(context, record).size_bytes)
        with suppress(Conflict, NotFound, TimedOut):
            remove.remove(context, record.id, force=False)
            removed.append(record.id)
            freed += size
    context.events.pruned("container", freed)
    return Pruned(removed, freed)


def _compile(key: str, value: str) -> Test:
    if key not in _FILTERS:
        raise InvalidParameter(
            f"invalid filter '{key}'", resolution=f"use one of {', '.join(sorted(_FILTERS))}"
        )
    return _FILTERS[key](value)


def _label(text: str) -> Test:
    key, equals, value = text.partition("=")

    def has(record: Record) -> bool:
        labels = record.config["Labels"] or {}
        return key in labels and (not equals or labels[key] == value)

    return has


def _not_label(text: str) -> Test:
    has = _label(text)
    return lambda record: not has(record)


def _until(text: str) -> Test:
    from runengine.mgr.log_times import parse_time

    border_ns = parse_time(text, now_s=time.time())
    return lambda record: clock.parse_ns(record.created_at) < border_ns


_FILTERS: dict[str, Callable[[str], Test]] = {
    "label": _label,
    "label!": _not_label,
    "until": _until,
}
