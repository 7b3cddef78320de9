"""Times as ``logs --since`` and ``--until`` take them: durations, unix seconds, dates."""

from __future__ import annotations

import re

from runengine.errors import InvalidParameter

SECOND_NS = 1_000_000_000
_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": SECOND_NS,
    "m": 60 * SECOND_NS,
    "h": 3600 * SECOND_NS,
}
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_DURATION = re.compile(rf"[-+]?(?:{_DURATION_PART.pattern})+")
_UNIX = re.compile(r"(-?\d{1,12})(?:\.(\d+))?", re.ASCII)
_DATE = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?)?"
    r"(Z|[-+]\d\d:\d\d)?",
    re.ASCII,
)


def parse_time(text: str, now_s: float) -> int:
    """Nanoseconds since the epoch.

    Takes a Go duration back from ``now_s`` (``42m``, ``1h30m``), unix seconds with an optional
    fraction (padded or cut to 9 digits), or an RFC 3339 time that may stop at the date, the hour,
    the minute or the second; without a zone it is local time. Raises InvalidParameter.
    """
    unix = _UNIX.fullmatch(text)
    if unix:
        seconds, fraction = int(unix[1]), int((unix[2] or "").ljust(9, "0")[:9])
        return seconds * SECOND_NS + (-fraction if text.startswith("-") else fraction)
    if _DURATION.fullmatch(text):
        return int(now_s * SECOND_NS) - _duration_ns(text)
    date = _DATE.fullmatch(text)
    if date:
        return _date_ns(text, date)
    raise _invalid(text)


def _invalid(text: str) -> InvalidParameter:
    return InvalidParameter(
        f"invalid time {text!r}",
        resolution="use a duration (42m), a date (2026-01-02T15:04:05Z) or unix seconds",
    )


def _duration_ns(text: str) -> int:
    parts = _DURATION_PART.finditer(text)
    total = sum(round(float(part[1]) * _UNITS_NS[part[2]]) for part in parts)
    return -total if text.startswith("-") else total


def _date_ns(text: str, date: re.Match[str]) -> int:
    from datetime import datetime

    day, hour, minute, second, fraction, zone = date.groups()
    whole = f"{day}T{hour or '00'}:{minute or '00'}:{second or '00'}"
    try:
        seconds = int(datetime.fromisoformat(whole + (zone or "")).timestamp())
    except (ValueError, OverflowError):
        raise _invalid(text) from None
    return seconds * SECOND_NS + int((fraction or "").ljust(9, "0"))
