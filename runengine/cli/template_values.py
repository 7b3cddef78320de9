"""Values in templates: Go's ideas of truth, printing, fields and types over JSON-like data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class TemplateError(InvalidParameter):
    """The template cannot be read, or does not fit the data."""


class Missing:
    """What a map gives for a key that it does not have."""

    def __repr__(self) -> str:
        return "<no value>"


MISSING = Missing()


class Map(dict[str, Any]):
    """A map in Go's sense: keys are the user's (labels), so a missing one is no error.

    ``empty`` is what ``index`` gives for a missing key.
    """

    __slots__ = ("empty",)

    def __init__(self, items: dict[str, Any], empty: Any = "") -> None:
        super().__init__(items)
        self.empty = empty


class NilList(list[Any]):
    """A list that JSON shows as null: templates print ``[]`` and loop over nothing."""


class Row:
    """A record of a listing, whose columns are computed when asked for."""

    def field(self, name: str) -> Any:
        """A column's value, or a ``Bound`` method. Raises KeyError for a wrong name."""
        raise KeyError(name)

    def document(self) -> dict[str, Any]:
        """All columns by name."""
        raise NotImplementedError

    def names(self) -> Iterable[str]:
        """What ``field`` knows, for those who ask for something else."""
        return self.document()


class Bound:
    """A function or method that awaits its arguments."""

    __slots__ = ("function", "name")

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name, self.function = name, function

    def call(self, args: list[Any], where: str) -> Any:
        """Call it. Raises TemplateError with the place for wrong arguments."""
        try:
            return self.function(*args)
        except TemplateError as exc:
            if exc.brief.startswith("template"):
                raise
            message = f"error calling {self.name}: {exc.brief}"
        except TypeError:
            message = f"wrong number of args for {self.name}: got {len(args)}"
        raise TemplateError(f"template parsing error: {where}: {message}")


def field_of(value: Any, name: str, where: str) -> Any:
    """``value.name``. Raises TemplateError when there is no such field."""
    if isinstance(value, dict):
        found = value.get(name, MISSING)
        if found is not MISSING or isinstance(value, Map):
            return found
        alias = _other_case(value, name)
        if alias is not None:
            return value[alias]
        raise TemplateError(
            f'template parsing error: {where}: map has no entry for key "{name}"'
        )
    if value is MISSING:
        return MISSING
    if isinstance(value, Row):
        return _column(value, name, where)
    reason = "nil pointer evaluating field" if value is None else "can't evaluate field"
    raise TemplateError(
        f"template parsing error: {where}: {reason} {name} in type {go_type(value)}"
    )


def _column(row: Row, name: str, where: str) -> Any:
    try:
        return row.field(name)
    except KeyError:
        raise TemplateError(
            f"template parsing error: {where}: can't evaluate field {name} in type row",
            resolution=f"fields are: {', '.join(row.names())}",
        ) from None


def _other_case(value: dict[str, Any], name: str) -> str | None:
    """Docker's names in Go and in JSON differ by case only: ``.ID`` and ``Id``."""
    if not name[:1].isupper():
        return None
    folded = name.casefold()
    return next((key for key in value if key.casefold() == folded), None)


def go_type(value: Any) -> str:
    """What Go would call the value's type, for messages and ``%T``."""
    if value is None or value is MISSING:
        return "<nil>"
    for kind, name in (
        (bool, "bool"),
        (str, "string"),
        (int, "int"),
        (float, "float64"),
        (dict, "map[string]interface {}"),
        (list, "[]interface {}"),
        (tuple, "[]interface {}"),
    ):
        if isinstance(value, kind):
            return name
    return "row"


def truth(value: Any) -> bool:
    """Go templates' truth: not the type's zero or empty value."""
    return value is not MISSING and (isinstance(value, Row) or bool(value))


def show(value: Any) -> str:
    """A value as ``{{.}}`` prints it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 1 << 64 else hex(value)
    if isinstance(value, float):
        return show_float(value)
    return _show_other(value)


def _show_other(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, dict):
        pairs = sorted(value.items(), key=lambda pair: str(pair[0]))
        return f"map[{' '.join(f'{show(key)}:{show(one)}' for key, one in pairs)}]"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(show(one) for one in value)}]"
    if isinstance(value, Bound):
        return show(value.call([], f"executing {value.name}"))
    if isinstance(value, Row):
        return show(value.document())
    return str(value)


def show_float(value: float) -> str:
    """``%v`` of a float64: the shortest digits, an exponent below 1e-4 and from 1e6."""
    if value != value or value in (float("inf"), float("-inf")):
        return {"inf": "+Inf", "-inf": "-Inf"}.get(str(value), "NaN")
    if value and not 1e-4 <= abs(value) < 1e6:
        digits = len(repr(value).partition("e")[0].replace(".", "").strip("-0"))
        mantissa, _, exponent = f"{value:.{max(digits - 1, 0)}e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(exponent):+03d}"
    if value == int(value):
        return str(int(value))
    return format(value, "f") if "e" in repr(value) else repr(value)


def plain(value: Any) -> Any:
    """``value`` for the JSON encoder: maps by sorted keys, rows as their columns."""
    if isinstance(value, dict):
        items = sorted(value.items()) if isinstance(value, Map) else value.items()
        return {str(key): plain(one) for key, one in items}
    if isinstance(value, NilList) and not value:
        return None
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, Row):
        return value.document()
    return None if value is MISSING else value


def not_a_rune(code: int) -> bool:
    """Whether no character has this number: out of range, or half of a UTF-16 pair."""
    return not 0 <= code < 0x110000 or 0xD800 <= code < 0xE000


def to_bytes(text: str) -> bytes:
    """UTF-8; bytes that were none come back as they were, other lone surrogates as ``?``."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def to_json(value: Any) -> str:
    """Compact JSON, characters as they are."""
    import json

    return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))
