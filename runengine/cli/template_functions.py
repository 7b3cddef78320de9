"""Functions of templates: Go's own and Docker's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.cli.template_printf import printf
from runengine.cli.template_values import (
    MISSING,
    Map,
    TemplateError,
    go_type,
    show,
    to_bytes,
    to_json,
    truth,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_PADDING = 1_000_000
_Scalar = (str, int, float)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise TemplateError(f"wrong type for value; expected string; got {go_type(value)}")


def _number(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise TemplateError(f"wrong type for value; expected int; got {go_type(value)}")


def _strings(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, (list, tuple)):
        return [_text(one) for one in value]
    raise TemplateError(f"wrong type for value; expected []string; got {go_type(value)}")


def _join(values: Any, separator: Any) -> str:
    return _text(separator).join(_strings(values))


def _split(value: Any, separator: Any) -> list[str]:
    text, by = _text(value), _text(separator)
    return text.split(by) if by else list(text)


def _title(value: Any) -> str:
    """Each word's first letter in upper case, the rest as it is (strings.Title)."""
    out, before = [], " "
    for character in _text(value):
        inside = before.isalnum() or before == "_"
        out.append(character if inside else character.title())
        before = character
    return "".join(out)


def _pad(value: Any, before: Any, after: Any) -> str:
    """The text with that many spaces on either side; empty stays empty."""
    text, left, right = _text(value), _number(before), _number(after)
    if left > _MOST_PADDING or right > _MOST_PADDING:
        raise TemplateError("padding is too wide")
    return " " * left + text + " " * right if text else ""


def _truncate(value: Any, length: Any) -> str:
    text, most = _text(value), _number(length)
    return text[:most] if 0 <= most < len(text) else text


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(to_bytes(value))
    if isinstance(value, (dict, list, tuple)):
        return len(value)
    raise TemplateError(f"len of type {go_type(value)}")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = _one_index(value, key)
    return value


def _one_index(value: Any, key: Any) -> Any:
    if value is None or value is MISSING:
        raise TemplateError("index of untyped nil")
    if isinstance(value, dict):
        empty = value.empty if isinstance(value, Map) else MISSING
        return value.get(_text(key), empty)
    if isinstance(value, str):
        data = to_bytes(value)
        return data[_position(key, len(data) - 1)]
    if isinstance(value, (list, tuple)):
        return value[_position(key, len(value) - 1)]
    raise TemplateError(f"can't index item of type {go_type(value)}")


def _position(key: Any, most: int) -> int:
    if not isinstance(key, int) or isinstance(key, bool):
        raise TemplateError(f"cannot index slice/array with type {go_type(key)}")
    if not 0 <= key <= most:
        raise TemplateError(f"index out of range: {show(key)}")
    return key


def _slice(value: Any, *borders: Any) -> Any:
    """``slice x i j``: strings by bytes, as in Go; lists by elements."""
    if not isinstance(value, (str, list, tuple)):
        raise TemplateError(f"can't slice item of type {go_type(value)}")
    if len(borders) > 2:
        raise TemplateError(f"too many slice indexes: {len(borders)}")
    data = to_bytes(value) if isinstance(value, str) else value
    low = _position(borders[0], len(data)) if borders else 0
    high = _position(borders[1], len(data)) if len(borders) > 1 else len(data)
    if low > high:
        raise TemplateError(f"invalid slice index: {low} > {high}")
    part = data[low:high]
    return part.decode("utf-8", "surrogateescape") if isinstance(part, bytes) else part


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    for kind in _Scalar:
        if isinstance(value, kind):
            return kind.__name__
    if value is None or value is MISSING:
        return "nil"
    raise TemplateError(f"non-comparable type {show(value)[:40]}: {go_type(value)}")


def _equal(first: Any, *others: Any) -> bool:
    """Whether the first equals any of the others."""
    if not others:
        raise TemplateError("missing argument for comparison")
    kind = _kind(first)
    for other in others:
        if _kind(other) not in (kind, "nil") and kind != "nil":
            raise TemplateError("incompatible types for comparison")
        if _kind(other) == kind and (kind == "nil" or first == other):
            return True
    return False


def _less(first: Any, second: Any) -> bool:
    kind = _kind(first)
    if kind != _kind(second):
        raise TemplateError("incompatible types for comparison")
    if kind in ("bool", "nil"):
        raise TemplateError("invalid type for comparison")
    smaller: bool = first < second
    return smaller


def _print(*values: Any) -> str:
    """fmt.Sprint: a space between two operands when neither is a string."""
    out: list[str] = []
    for index, value in enumerate(values):
        texts = isinstance(value, str) or (index and isinstance(values[index - 1], str))
        out.append(show(value) if texts or not index else " " + show(value))
    return "".join(out)


def _println(*values: Any) -> str:
    return " ".join(show(value) for value in values) + "\n"


def _html(*values: Any) -> str:
    text = _print(*values)
    for plain, escaped in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ('"', "&#34;"),
        ("'", "&#39;"),
        ("\0", "\ufffd"),
    ):
        text = text.replace(plain, escaped)
    return text


def _urlquery(*values: Any) -> str:
    from urllib.parse import quote_plus

    return quote_plus(to_bytes(_print(*values)))


def _decides(*_: Any) -> Any:
    raise TemplateError("and/or take their arguments one by one")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": _decides,
    "or": _decides,
    "not": lambda value: not truth(value),
    "eq": _equal,
    "ne": lambda first, second: not _equal(first, second),
    "lt": _less,
    "le": lambda first, second: _less(first, second) or _equal(first, second),
    "gt": lambda first, second: _less(second, first),
    "ge": lambda first, second: _less(second, first) or _equal(first, second),
    "len": _length,
    "index": _index,
    "slice": _slice,
    "print": _print,
    "printf": printf,
    "println": _println,
    "html": _html,
    "urlquery": _urlquery,
    "json": to_json,
    "join": _join,
    "split": _split,
    "lower": lambda value: _text(value).lower(),
    "upper": lambda value: _text(value).upper(),
    "title": _title,
    "pad": _pad,
    "truncate": _truncate,
}


def _same(value: Any, *_: Any) -> Any:
    return value


HEADER_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **FUNCTIONS,
    **dict.fromkeys(("json", "title", "lower", "upper", "truncate"), _same),
}
"""For a table's header: functions that change a value leave the column's title as it is."""
