"""When a busy registry is asked again, and after how long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

BUSY = frozenset({500, 502, 503, 504})
"""Answers of a server that may give another one in a moment."""
TOO_MANY = 429
LONGEST_WAIT_S = 60.0
"""A registry that wants to be left alone for longer is not waited for."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.3, 10.0


def wait_s(status: int, headers: Mapping[str, str], usual_s: float) -> float | None:
    """Seconds until the same question may be asked again; None if that has no point.

    What the server says itself (RFC 9110 section 10.2.3) goes before ``usual_s``. One that
    allows no more requests is asked again only if it said when.
    """
    if status != TOO_MANY and status not in BUSY:
        return None
    asked_s = retry_after_s(headers)
    if asked_s is None:
        return usual_s if status in BUSY else None
    return asked_s if asked_s <= LONGEST_WAIT_S else None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """What Retry-After says: a number of seconds, or a date."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def backoff_s(failures: int, first_s: float = _FIRST_PAUSE_S) -> float:
    """The pause after so many failures in a row: it doubles, up to a limit."""
    return min(first_s * 2.0 ** min(failures - 1, 16), _LONGEST_PAUSE_S)
