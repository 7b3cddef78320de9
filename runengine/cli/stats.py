"""``stats``: what containers use, as a table that is drawn anew, or appended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context, table, terminal
from runengine.cli.command import Option, argument, command
from runengine.cli.flags import flag
from runengine.cli.formats import FORMAT_HELP, list_format
from runengine.cli.stats_rows import COLUMNS, TITLES, StatsRow
from runengine.errors import EngineError
from runengine.mgr.container.stats import INTERVAL_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from runengine.mgr.container.stats import Watch
    from runengine.mgr.engine import Engine

    Rounds = Iterable[list[dict[str, Any]]]

# Control sequences of every terminal since the VT100 (console_codes(4)).
CLEAR = "\033[2J"
HOME = "\033[H"
CLEAR_LINE = "\033[K"
CLEAR_BELOW = "\033[J"
LEAST_S, MOST_S = 0.1, 86400


def _seconds(text: str) -> float:
    """A positive number, fractions too. Raises ValueError."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not LEAST_S <= value <= MOST_S:
        raise ValueError(f"{text!r} is no number of seconds from {LEAST_S} to {MOST_S}")
    return value


@command(
    "stats",
    usage="[OPTIONS] [CONTAINER...]",
    latest=True,
    params=[
        Option(
            ["-a", "--all", "everything"],
            is_flag=True,
            help="Show all containers (default shows just running)",
        ),
        flag(
            "-i --interval",
            convert=_seconds,
            default=INTERVAL_S,
            help="Seconds between two looks",
        ),
        Option(["--format", "form"], metavar="string", default="", help=FORMAT_HELP),
        Option(
            ["--no-stream"],
            is_flag=True,
            help="Disable streaming stats and only pull the first result",
        ),
        Option(["--no-trunc", "full"], is_flag=True, help="Do not truncate output"),
    ],
)
@argument("names", nargs=-1)
@click.pass_context
def stats(ctx: click.Context, /, **options: Any) -> None:
    """Display a live stream of container(s) resource usage statistics."""
    engine = context.engine(ctx)
    names, form, full = options["names"], list_format(options, "statsFormat"), options["full"]
    ids = _resolve(engine, names)
    watch = engine.containers.watch_stats(ids, all=options["everything"])
    typed = dict(zip(ids, names, strict=True))

    def text(found: list[dict[str, Any]]) -> str:
        rows = [StatsRow(one, full=full, typed=typed.get(one["id"], "")) for one in found]
        return table.render(rows, table.Layout(TITLES, COLUMNS), form)

    interval_s = options["interval"]
    if options["no_stream"]:
        _once(watch, text, interval_s)
    elif terminal.is_terminal(terminal.STDOUT):
        _redraw(watch.rounds(interval_s), text)
    else:
        _append(watch.rounds(interval_s), text)


def _resolve(engine: Engine, names: Sequence[str]) -> list[str]:
    """The ids; says of every name that is nobody's before anything is shown, and exits 1."""
    ids: list[str] = []
    wrong: list[EngineError] = []
    for name in names:
        try:
            ids.append(engine.containers.resolve(name))
        except EngineError as error:
            wrong.append(error)
    for one in wrong:
        context.complain(str(one))
    if wrong:
        raise click.exceptions.Exit(1)
    return ids


def _once(
    watch: Watch, text: Callable[[list[dict[str, Any]]], str], interval_s: float
) -> None:
    """Two looks, so that there is a time between them of which to tell."""
    if watch.round():
        time.sleep(interval_s)
    context.write(text(watch.round()))


def _append(rounds: Rounds, text: Callable[[list[dict[str, Any]]], str]) -> None:
    for number, found in enumerate(rounds):
        if number:  # the first look tells of nothing yet
            context.write(text(found))


def _redraw(rounds: Rounds, text: Callable[[list[dict[str, Any]]], str]) -> None:
    """In place: each line is cleared behind its text, and what is below the last."""
    context.write(CLEAR)
    for found in rounds:
        lines = text(found).replace("\n", f"{CLEAR_LINE}\n")
        context.write(f"{HOME}{lines}{CLEAR_BELOW}")
