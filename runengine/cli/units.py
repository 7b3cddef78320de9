"""Sizes and durations as people read and write them. Source: Docker's go-units."""

from __future__ import annotations

import re
import time

from runengine.errors import InvalidParameter

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_SIZE = re.compile(r"([0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40}) ?([kKmMgGtTpP]?)([iI]?)[bB]?")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DURATION = re.compile(r"([0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(ns|us|µs|μs|ms|s|m|h)")
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_LARGEST = (1 << 63) - 1
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_LONGER = (  # the least number of seconds to say it, seconds of one, the word
    (2 * 365 * _DAY, 365 * _DAY, "years"),
    (60 * _DAY, 30 * _DAY, "months"),
    (14 * _DAY, 7 * _DAY, "weeks"),
    (2 * _DAY, _DAY, "days"),
)


def human_size(size_bytes: float, digits: int = 4) -> str:
    """Decimal units with that many significant digits: ``12.3MB``."""
    return _scaled(size_bytes, 1000, _DECIMAL, digits)


def human_size_binary(size_bytes: float, digits: int = 4) -> str:
    """Binary units: ``7.629GiB``."""
    return _scaled(size_bytes, 1024, _BINARY, digits)


def _scaled(size: float, base: int, names: tuple[str, ...], digits: int) -> str:
    value, index = float(size), 0
    while index < len(names) - 1 and abs(float(f"{value:.{digits}g}")) >= base:
        value /= base
        index += 1
    text = f"{value:.{digits}g}"
    return (str(int(float(text))) if "e" in text else text) + names[index]


def parse_size(text: str, *, base: int = 1024) -> int:
    """Bytes in ``512m``, ``1.5GiB`` or ``100``; k is 1024 (memory) unless ``base`` is 1000.

    Raises InvalidParameter, also for what does not fit 63 bits.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or (found[3] and not found[2]):
        raise InvalidParameter(
            f"invalid size: {text!r}", resolution="write a number and b, k, m or g, such as 512m"
        )
    factor = base ** _POWERS[found[2].lower()]
    size = _times(found[1], factor)
    if size > _LARGEST:
        raise InvalidParameter(f"invalid size: {text!r} is too large")
    return size


def _times(number: str, factor: int) -> int:
    """``number`` (decimal) times ``factor`` without a float's rounding, downwards."""
    whole, _, fraction = number.partition(".")
    scale: int = 10 ** len(fraction)
    return int((whole or "0") + fraction) * factor // scale


def human_duration(seconds: float) -> str:
    """``3 seconds``, ``About a minute``, ``2 weeks``; a negative one counts as nothing."""
    whole = max(0, int(seconds))
    for least, size, word in _LONGER:
        if whole >= least:
            return f"{whole // size} {word}"
    minutes, hours = whole // _MINUTE, (whole + _HOUR // 2) // _HOUR
    if whole < 1:
        return "Less than a second"
    if whole < _MINUTE:
        return "1 second" if whole == 1 else f"{whole} seconds"
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    return "About an hour" if hours == 1 else f"{hours} hours"


def ago(timestamp_s: float, now_s: float) -> str:
    """How long ago that was: ``About an hour ago``."""
    return f"{human_duration(now_s - timestamp_s)} ago"


def local_time(timestamp_s: float) -> str:
    """A time as Docker's listings show it: ``2026-01-02 03:04:05 +0000 UTC``."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(timestamp_s))
    except (OverflowError, ValueError, OSError):
        return "N/A"


def parse_duration(text: str) -> int:
    """Nanoseconds in Go's notation: ``1h30m``, ``1.5s``, ``300ms``. Raises InvalidParameter."""
    rest = text.strip()
    sign = -1 if rest[:1] == "-" else 1
    rest = rest[1:] if rest[:1] in ("-", "+") else rest
    total, place = 0, 0
    while (found := _DURATION.match(rest, place)) is not None:
        total += _times(found[1], _NANOSECONDS[found[2]])
        place = found.end()
    if rest != "0" and (not place or place < len(rest) or total > _LARGEST):
        raise InvalidParameter(
            f"invalid duration: {text!r}", resolution="write it like 90s, 10m or 1h30m"
        )
    return sign * total


def ellipsis(text: str, width: int) -> str:
    """``text`` cut to ``width`` columns, the last an ellipsis; wide characters count two."""
    if len(text) <= width and text.isascii():
        return text
    if text.isascii():
        return text[: width - 1] + "…" if width > 1 else text[:width]
    return _ellipsis_wide(text, width)


def _ellipsis_wide(text: str, width: int) -> str:
    from unicodedata import east_asian_width

    sizes = [2 if east_asian_width(character) in "WF" else 1 for character in text]
    if sum(sizes) <= width:
        return text
    kept, used = 0, 0
    while kept < len(sizes) and used + sizes[kept] <= width - 1:
        used += sizes[kept]
        kept += 1
    return text[:kept] + "…"
