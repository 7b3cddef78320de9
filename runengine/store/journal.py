"""The journal of events: one JSON object a line, written by everybody, read at leisure.

Order is the file's order. Times are as the clock said, which may have been set back in between.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_TIME_NS = 253_402_300_800 * 1_000_000_000
"""The year 10000: no clock says so, and dates have four digits of a year."""
_TEXTS = ("Type", "Action")
_NUMBERS = ("time", "timeNano")


def parse_block(block: bytes) -> Iterator[dict[str, Any]]:
    """The messages in a block of whole lines; a line that is none is passed over."""
    for line in block.split(b"\n"):
        found = parse_line(line)
        if found is not None:
            yield found


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The message in a line; None if it was cut short or is something else."""
    if not line:
        return None
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) and _is_message(document) else None


def _is_message(document: dict[str, Any]) -> bool:
    if not all(isinstance(document.get(key), str) for key in _TEXTS):
        return False
    if not all(type(document.get(key)) is int for key in _NUMBERS):
        return False
    return 0 <= document["timeNano"] < MAX_TIME_NS and _is_actor(document.get("Actor"))


def _is_actor(actor: object) -> bool:
    if not isinstance(actor, dict) or not isinstance(actor.get("ID"), str):
        return False
    attributes = actor.get("Attributes")
    return isinstance(attributes, dict) and all(
        isinstance(value, str) for value in attributes.values()
    )
