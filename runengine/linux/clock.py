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
    import calendar

    main, _, fraction = text.removesuffix("Z").partition(".")
    seconds = calendar.timegm(time.strptime(main, "%Y-%m-%dT%H:%M:%S"))
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0")[:9] or 0)


def boot_id() -> str:
    """A word that differs between any two boots of this host (random(4), boot_id)."""
    return (read_optional("/proc/sys/kernel/random/boot_id") or b"").decode().strip()
