"""Times as the engine writes them, and the identity of this boot."""

from __future__ import annotations

import time

from runengine.linux.fsatomic import read_optional


def now() -> str:
    """The current time, RFC 3339 with nanoseconds, UTC."""
    return format_ns(time.time_ns())


def format_ns(nanoseconds: int) -> str:
    """A time since the epoch, RFC 3339 with nanoseconds, UTC."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


def parse_ns(text: str) -> int:
    """Nanoseconds since the epoch of a time that ``format_ns`` wrote. Raises ValueError."""
    main, _, fraction = text.removesuffix("Z").partition(".")
    date, _, clock = main.partition("T")
    year, month, day = map(int, date.split("-"))
    hours, minutes, seconds = map(int, clock.split(":"))
    whole = (_days(year, month, day) * 24 + hours) * 3600 + minutes * 60 + seconds
    return whole * 1_000_000_000 + int(fraction.ljust(9, "0")[:9] or 0)


def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01; strptime takes a hundred times as long, and ``ps`` asks for each."""
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise ValueError(f"no such day: {year}-{month}-{day}")
    if month < 3:  # count years from March on, so that a leap day is the last of its year
        year, month = year - 1, month + 12
    leap_days = year // 4 - year // 100 + year // 400
    return year * 365 + leap_days + (month * 153 - 457) // 5 + day - 719469


_BOOT_ID = ""


def boot_id() -> str:
    """A word that differs between any two boots of this host (random(4), boot_id)."""
    global _BOOT_ID
    if not _BOOT_ID:  # a listing asks for every container, and no process outlives its boot
        _BOOT_ID = (read_optional("/proc/sys/kernel/random/boot_id") or b"").decode().strip()
    return _BOOT_ID
