"""Help pages laid out as Docker's. Imported only when help is asked for."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from runengine.cli.command import Command
    from runengine.cli.lazy import LazyGroup

_COLUMN = 26
_MORE = "for more information on a command."


def command_help(command: Command, ctx: click.Context) -> str:
    """Usage, description, options."""
    parts = [usage_line(command, ctx), inspect.cleandoc(command.help or "").partition("\f")[0]]
    options = _options(command.get_params(ctx))
    if options:
        parts.append("Options:\n" + options)
    return "\n\n".join(part for part in parts if part)


def group_help(group: LazyGroup, ctx: click.Context) -> str:
    """Usage, description, commands; for the program itself the nouns and global options too."""
    nouns = [n for n in group.list_commands(ctx) if group.table[n].target.startswith("groups:")]
    verbs = [n for n in group.list_commands(ctx) if n not in nouns]
    parts = [usage_line(group, ctx), group.help or ""]
    if nouns:
        parts.append("Management Commands:\n" + _commands(group, nouns))
    parts.append("Commands:\n" + _commands(group, verbs))
    if ctx.parent is None:
        parts.append("Global Options:\n" + _options(group.get_params(ctx)))
    parts.append(f"Run '{ctx.command_path} COMMAND --help' {_MORE}")
    return "\n\n".join(parts)


def usage_line(command: click.Command, ctx: click.Context) -> str:
    """``Usage:  runengine ps [OPTIONS]``."""
    return f"Usage:  {ctx.command_path} {' '.join(command.collect_usage_pieces(ctx))}".rstrip()


def _commands(group: LazyGroup, names: list[str]) -> str:
    width = max(len(name) for name in names) + 3
    return "\n".join(f"  {name:<{width}}{group.table[name].brief}" for name in names)


def _options(params: list[click.Parameter]) -> str:
    shown = [p for p in params if isinstance(p, click.Option) and not p.hidden]
    rows = [(_left(p), _right(p)) for p in shown if "--help" not in p.opts]
    if not rows:
        return ""
    width = min(max(len(left) for left, _ in rows) + 3, _COLUMN)
    room = max(min(shutil.get_terminal_size().columns, 99) - width - 2, 30)
    return "\n".join(_row(left, right, width, room) for left, right in sorted(rows, key=_order))


def _order(row: tuple[str, str]) -> str:
    return row[0].partition("--")[2] or row[0].lstrip(" -")


def _row(left: str, right: str, width: int, room: int) -> str:
    lines = [piece for text in right.splitlines() for piece in textwrap.wrap(text, room) or [""]]
    if len(left) > width - 2:
        head = f"  {left}\n"
        lines.insert(0, "")
        return (head + "\n".join(" " * (width + 2) + line for line in lines[1:])).rstrip()
    body = [f"  {left:<{width}}{lines[0] if lines else ''}"]
    return "\n".join(body + [" " * (width + 2) + line for line in lines[1:]]).rstrip()


def _left(param: click.Option) -> str:
    shorts = [name for name in param.opts if not name.startswith("--")]
    longs = [name for name in param.opts if name.startswith("--")]
    text = f"{shorts[0]}, " if shorts and longs else shorts[0] if shorts else "    "
    text += longs[0] if longs else ""
    if not param.is_flag and not param.count:
        text += " " + (param.metavar or _type_name(param))
    return text


def _type_name(param: click.Option) -> str:
    if param.multiple:
        return "list"
    return {"integer": "int", "float": "decimal"}.get(param.type.name, "string")


def _right(param: click.Option) -> str:
    text = param.help or ""
    if isinstance(param.default, (str, int, float)) and not isinstance(param.default, bool):
        shown = f'"{param.default}"' if isinstance(param.default, str) else param.default
        text += f" (default {shown})" if shown != '""' else ""
    elif param.default is True:
        text += " (default true)"
    return text
