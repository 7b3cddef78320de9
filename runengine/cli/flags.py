"""Options from one line each, with values checked by plain functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runengine.cli.command import Option
from runengine.errors import EngineError, InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # before click 8.5 it takes no type argument

MAX_INT64 = (1 << 63) - 1


def plain(value: str) -> str:
    """Any text that the runtime's configuration, which is JSON, can carry. Raises ValueError."""
    if "\0" in value:
        raise ValueError("it has a NUL byte")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{value!r} is not UTF-8 text") from None
    return value


def arguments(values: Sequence[str]) -> list[str]:
    """A container's command line. Raises InvalidParameter naming the argument that is no text."""
    try:
        return [plain(value) for value in values]
    except ValueError as error:
        raise InvalidParameter(f"invalid argument of the command: {error}") from None


def integer(text: str) -> int:
    """A decimal integer that fits 64 bits."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 19:
        raise ValueError(f"{text!r} is not a valid integer")
    value = int(text)
    if not -MAX_INT64 <= value <= MAX_INT64:
        raise ValueError(f"{text} is out of range")
    return value


class Value(_ParamType):
    """A flag's value by the grammar of a function."""

    def __init__(self, grammar: Callable[[str], Any], name: str = "string") -> None:
        self.grammar = grammar
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value, or click's BadParameter with the function's own words."""
        if not isinstance(value, str):
            return value  # a default
        try:
            return self.grammar(value)
        except (ValueError, EngineError) as error:
            return self.fail(str(error), param, ctx)


_TEXT = Value(plain)
_INTEGER = Value(integer, "integer")


def flag(
    names: str,
    kind: str = "str",
    *,
    help: str = "",
    convert: Callable[[str], Any] | None = None,
    **attributes: Any,
) -> Option:
    """An option by pflag's words: ``kind`` is bool, str, int or list; blanks between names."""
    if kind == "bool":
        return Option(names.split(), is_flag=True, help=help, **attributes)
    plain = _INTEGER if kind == "int" else _TEXT
    return Option(
        names.split(),
        type=Value(convert) if convert else plain,
        multiple=kind == "list",
        metavar={"str": "string"}.get(kind, kind),
        help=help,
        **attributes,
    )
