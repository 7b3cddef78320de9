"""``--filter name=value``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.cli.command import FlagError, Option

if TYPE_CHECKING:
    from collections.abc import Iterable

    import click


def parse(words: Iterable[str]) -> dict[str, list[str]]:
    """Values by filter name; names are lower-cased. Raises ValueError for a wrong form."""
    found: dict[str, list[str]] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name = name.strip().lower()
        if not equals or not name:
            raise ValueError(word)
        values = found.setdefault(name, [])
        if value.strip() not in values:
            values.append(value.strip())
    return found


def _read(ctx: click.Context, param: click.Parameter, words: Iterable[str]) -> Any:  # noqa: ARG001
    try:
        return parse(words)
    except ValueError as exc:
        raise FlagError(
            f'invalid argument "{exc}" for "-f, --filter" flag: '
            "bad format of filter (expected name=value)",
            ctx,
        ) from None


def filter_option(*names: str) -> Option:
    """The ``--filter`` option: its value is a dict of lists."""
    return Option(
        [*names, "--filter", "filters"],
        multiple=True,
        metavar="filter",
        callback=_read,
        help="Filter output based on conditions provided",
    )
