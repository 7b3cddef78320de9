"""Signal names and numbers as operators write them."""

from __future__ import annotations

import signal

from runengine.errors import InvalidParameter

_RTMIN, _RTMAX = 34, 64  # what the C library leaves to programs (signal(7))


def parse_signal(text: str | int) -> int:
    """A signal number, 1 to 64, from a number or a name, ``SIG`` and case being optional.

    Raises InvalidParameter.
    """
    word = str(text).strip().upper()
    number = int(word) if word.isascii() and word.isdigit() else _named(word.removeprefix("SIG"))
    if not 1 <= number <= _RTMAX:
        raise InvalidParameter(f"Invalid signal: {text}")
    return number


def _named(name: str) -> int:
    for base, start, step in (("RTMIN", _RTMIN, 1), ("RTMAX", _RTMAX, -1)):
        if name == base:
            return start
        sign = "+" if step > 0 else "-"
        head, found, offset = name.partition(sign)
        if found and head == base and offset.isascii() and offset.isdigit():
            limit = 15 if step > 0 else 14
            return start + step * int(offset) if int(offset) <= limit else 0
    member = signal.Signals.__members__.get(f"SIG{name}")
    return int(member) if member is not None else 0


def signal_name(number: int) -> str:
    """``SIGTERM`` for 15; real-time signals by their distance from the nearer end."""
    if number > _RTMIN + 15 and number != _RTMAX:
        return f"SIGRTMAX-{_RTMAX - number}"
    if _RTMIN < number < _RTMAX:
        return f"SIGRTMIN+{number - _RTMIN}"
    return signal.Signals(number).name
