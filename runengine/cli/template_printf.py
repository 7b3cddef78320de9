"""``printf`` of templates. Source: Go documentation of package fmt."""

from __future__ import annotations

import re
from typing import Any

from runengine.cli.quoting import quote
from runengine.cli.template_values import (
    MISSING,
    TemplateError,
    go_type,
    not_a_rune,
    show,
    show_float,
    to_bytes,
)

_VERB = re.compile(r"(?s)%([-+# 0]*)(\*|\d+)?(?:\.(\*|\d+)?)?(.)?")
_WIDEST = 1_000_000
_BASES = {"d": "d", "b": "b", "o": "o", "x": "x", "X": "X"}


class _Arguments:
    def __init__(self, values: tuple[Any, ...]) -> None:
        self.values = values
        self.next = 0

    def take(self) -> Any:
        """The next argument, or MISSING when there is none left."""
        self.next += 1
        return self.values[self.next - 1] if self.next <= len(self.values) else MISSING


def printf(pattern: Any, *values: Any) -> str:
    """fmt.Sprintf; what does not fit is shown as Go shows it (``%!d(string=x)``)."""
    if not isinstance(pattern, str):
        raise TemplateError(f"wrong type for value; expected string; got {go_type(pattern)}")
    arguments = _Arguments(values)
    out = _VERB.sub(lambda found: _verb(found, arguments), pattern)
    rest = values[arguments.next :]
    if rest:
        out += f"%!(EXTRA {', '.join(f'{go_type(one)}={show(one)}' for one in rest)})"
    return out


def _verb(found: re.Match[str], arguments: _Arguments) -> str:
    flags, verb = found[1], found[4]
    if verb is None:
        return "%!(NOVERB)"
    if verb == "%":
        return "%"
    width = _measure(found[2], arguments)
    dotted = "." in found[0][len(flags) + 1 : -1]
    precision = _measure(found[3], arguments) if found[3] else (0 if dotted else None)
    if width is not None and width < 0:
        flags, width = flags + "-", -width
    if arguments.next >= len(arguments.values):
        arguments.take()
        return f"%!{verb}(MISSING)"
    value = arguments.take()
    text = _format(value, verb, flags, precision)
    if text is None:
        return f"%!{verb}(<nil>)" if value is None else f"%!{verb}({go_type(value)}={show(value)})"
    return _padded(text, width or 0, flags, zero=verb in "dboxXeEfFgGvU" and _is_number(value))


def _measure(text: str | None, arguments: _Arguments) -> int | None:
    """A width or precision, from the pattern or the arguments."""
    if text is None:
        return None
    value = arguments.take() if text == "*" else int(text[:12])
    if not isinstance(value, int) or abs(value) > _WIDEST:
        raise TemplateError("width or precision is not a small number")
    return int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _padded(text: str, width: int, flags: str, *, zero: bool) -> str:
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and zero:
        return text.zfill(width)
    return text.rjust(width)


def _format(value: Any, verb: str, flags: str, precision: int | None) -> str | None:
    """The value by its verb, or None when they do not go together."""
    if verb == "v":
        return _signed(show(value), value, flags)
    if verb == "T":
        return go_type(value)
    if isinstance(value, bool):
        return show(value) if verb == "t" else None
    if isinstance(value, str):
        return _format_text(value, verb, precision)
    if isinstance(value, int):
        return _format_integer(value, verb, flags)
    if isinstance(value, float):
        return _format_float(value, verb, flags, precision)
    if verb == "s" and isinstance(value, (list, tuple, dict)):
        return show(value)
    return None


def _signed(text: str, value: Any, flags: str) -> str:
    if not _is_number(value) or text[:1] in ("-", "+"):
        return text
    return ("+" if "+" in flags else " " if " " in flags else "") + text


def _format_text(value: str, verb: str, precision: int | None) -> str | None:
    if verb == "s":
        return value if precision is None else value[:precision]
    if verb == "q":
        return quote(value)
    if verb in ("x", "X"):
        digits = to_bytes(value).hex()
        return digits.upper() if verb == "X" else digits
    return None


def _format_integer(value: int, verb: str, flags: str) -> str | None:
    if verb in _BASES:
        text = format(value, ("#" if "#" in flags and verb in "xX" else "") + _BASES[verb])
        return _signed(text, value, flags)
    if verb in ("c", "q", "U"):
        if not_a_rune(value):
            return "\ufffd"
        return {"c": chr(value), "q": f"'{chr(value)}'", "U": f"U+{value:04X}"}[verb]
    return None


def _format_float(value: float, verb: str, flags: str, precision: int | None) -> str | None:
    if verb not in "eEfFgG":
        return None
    if verb in "gG" and precision is None:
        text = show_float(value)
    else:
        text = format(value, f".{6 if precision is None else precision}{verb}")
    return _signed(text, value, flags)
