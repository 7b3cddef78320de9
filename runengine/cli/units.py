"""Sizes and durations as people read and write them. Source: Docker's go-units."""

from __future__ import annotations

import re
import time

from runengine.errors import InvalidParameter
from runengine.mgr.container.status import human_duration

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_SIZE = re.compile(r"([0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40}) ?([kKmMgGtTpP]?)([iI]?)[bB]?")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_LARGEST = (1 << 63) - 1


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
    found = _SIZE.fullmatch(text)
    if found is None or (found[3] and not found[2]):
        raise InvalidParameter(
            f"invalid size: {text!r}", resolution="write a number and b, k, m or g, such as 512m"
        )
    factor: int = base ** _POWERS[found[2].lower()]
    whole, _, fraction = found[1].partition(".")
    size: int = int((whole or "0") + fraction) * factor // 10 ** len(fraction)
    if size > _LARGEST:
        raise InvalidParameter(f"invalid size: {text!r} is too large")
    return size


def ago(timestamp_s: float, now_s: float) -> str:
    """How long ago that was: ``About an hour ago``."""
    return f"{human_duration(now_s - timestamp_s)} ago"


def local_time(timestamp_s: float) -> str:
    """A time as Docker's listings show it: ``2026-01-02 03:04:05 +0000 UTC``."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(timestamp_s))
    except (OverflowError, ValueError, OSError):
        return "N/A"


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
