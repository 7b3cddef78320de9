"""Containers chosen by what they are, not by name: ``--all``, ``--filter``, ``--cidfile``.

Podman has these beside each verb, where Docker's users write ``$(docker ps -q ...)``. Of what is
chosen only those in a state count in which the verb does something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.cli import at_once, context
from runengine.cli.command import ArgumentError
from runengine.cli.filters import filter_option
from runengine.cli.flags import flag
from runengine.errors import EngineError, InvalidParameter, NotFound, NotModified

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import click

    from runengine.cli.at_once import Action
    from runengine.mgr.engine import Engine

UP = frozenset({"running", "paused", "restarting"})
DOWN = frozenset({"created", "exited", "dead"})
RUNNING = frozenset({"running"})
PAUSED = frozenset({"paused"})
ANY: frozenset[str] = frozenset()
"""No state is asked for."""
REQUIRED = "requires at least 1 argument"


class Chosen(NamedTuple):
    """Which containers, and whether they were found rather than named."""

    names: Sequence[str]
    found: bool


def options(
    all_help: str, *, names: str = "-a --all", ignore: bool = False, short: str = "-f"
) -> list[click.Option]:
    """The options of a verb; ``ignore``: with that for names that are not there.

    ``short``: of ``--filter``, which is empty where ``-f`` is something else.
    """
    extra = [flag("-i --ignore", "bool", help="Do not mind containers that are not there")]
    return [
        flag(f"{names} everything", "bool", help=all_help),
        flag("--cidfile", "list", help="Read the container's ID from the file"),
        filter_option(*([short] if short else [])),
        *(extra if ignore else ()),
    ]


def for_each(
    ctx: click.Context,
    params: dict[str, Any],
    states: frozenset[str],
    act: Action,
    *,
    tolerated: tuple[type[EngineError], ...] = (),
) -> None:
    """Do ``act`` to what the command line has chosen. See ``at_once.for_each``."""
    chosen = choose(ctx, params, states)
    if chosen.names:
        guarded = _unless_gone(act) if chosen.found else act
        at_once.for_each(ctx, chosen.names, guarded, tolerated=tolerated)


def choose(ctx: click.Context, params: dict[str, Any], states: frozenset[str]) -> Chosen:
    """The containers. Raises ArgumentError for none and for ways that exclude each other."""
    names, filters = list(params["names"]), params["filters"]
    found = bool(params["everything"] or filters)
    if found and (names or params["cidfile"]):
        way = "--all" if params["everything"] else "--filter"
        raise ArgumentError(f"runengine: '{ctx.command_path}' takes no names with {way}", ctx)
    if found:
        return Chosen(_listed(context.engine(ctx), filters, states), found=True)
    ignore = params.get("ignore", False)
    names += [one for path in params["cidfile"] for one in _read(path, ignore=ignore)]
    if not names and not (ignore and params["cidfile"]):
        raise ArgumentError(f"runengine: '{ctx.command_path}' {REQUIRED}", ctx)
    if ignore:
        names = [one for one in names if _is_there(context.engine(ctx), one)]
    return Chosen(names, found=False)


def require_one_way(ctx: click.Context, names: Sequence[str], *, everything: bool) -> None:
    """Raise ArgumentError unless there are either names or ``--all``."""
    if everything and names:
        raise ArgumentError(f"runengine: '{ctx.command_path}' takes no names with --all", ctx)
    if not everything and not names:
        raise ArgumentError(f"runengine: '{ctx.command_path}' {REQUIRED}", ctx)


def _listed(
    engine: Engine, filters: dict[str, list[str]], states: frozenset[str]
) -> Sequence[str]:
    entries = engine.containers.list(all=True, filters=filters)
    return [
        str(entry["Names"][0]).removeprefix("/")
        for entry in entries
        if not states or entry["State"] in states
    ]


def _read(path: str, *, ignore: bool) -> list[str]:
    from pathlib import Path

    try:
        words = Path(path).read_text(encoding="utf-8").split()
    except FileNotFoundError:
        if ignore:
            return []
        raise InvalidParameter(f"there is no container ID file {path}") from None
    except (OSError, ValueError) as error:
        raise InvalidParameter(f"cannot read the container ID file {path}: {error}") from error
    if len(words) != 1:
        raise InvalidParameter(f"{path} is no container ID file: it must have one word")
    return words


def _is_there(engine: Engine, name: str) -> bool:
    try:
        engine.containers.resolve(name)
    except NotFound:
        return False
    return True


def _unless_gone(act: Action) -> Callable[[Engine, str], str | None]:
    """Nobody asked for this container: that somebody else has removed it is no error."""

    def guarded(engine: Engine, name: str) -> str | None:
        try:
            return act(engine, name)
        except NotFound:
            raise NotModified(f"container {name} is gone") from None

    return guarded
