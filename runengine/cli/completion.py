"""``completion``: a script that lets a shell complete commands, options and names.

The scripts know nothing themselves: they hand the words to the hidden command ``__complete``,
which answers with a line for each that may stand there: the word, a tab, what it is. Lines that
begin with a colon tell the shell what to do: offer files too, or put no blank behind.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runengine.cli import completing, completion_scripts, completion_words, context
from runengine.cli.command import ArgumentError, argument, command

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.cli.completion_words import Offer
    from runengine.cli.lazy import LazyGroup


@command("completion", usage="bash|zsh|fish", needs_root=False)
@argument("shell")
@click.pass_context
def completion(ctx: click.Context, /, shell: str) -> None:
    """Print the script that completes commands and names in a shell.

    scripts/install puts all three where the shells look. For one shell alone:

      source <(runengine completion bash)          # or in ~/.bashrc
      source <(runengine completion zsh)           # or in ~/.zshrc, after compinit
      runengine completion fish | source           # or in ~/.config/fish/config.fish
    """
    script = completion_scripts.SCRIPTS.get(shell)
    if script is None:
        known = ", ".join(completion_scripts.SCRIPTS)
        raise ArgumentError(f"runengine: no completion for {shell!r} (one of {known})", ctx)
    context.write(script)


@command("__complete", hidden=True, interspersed=False, needs_root=False)
@argument("words", nargs=-1, required=True)
@click.pass_context
def complete(ctx: click.Context, /, words: tuple[str, ...]) -> None:
    """Tell what may stand in the place of the last word. Never fails: a shell is waiting."""
    program = ctx.find_root().command
    context.write("".join(lines(ctx, program, words)))  # type: ignore[arg-type]


def lines(ctx: click.Context, program: LazyGroup, typed: tuple[str, ...]) -> Iterable[str]:
    """The answer for the words ``typed``, of which the last one is not complete."""
    walk = completing.Walk(program)
    place = walk.place(typed[:-1], typed[-1])
    if place is None:
        return
    if place.wants_option:
        offers = _plain(completing.options_at(place))
    elif isinstance(place.command, click.Group) and place.option is None:
        offers = _plain(completing.commands_at(place))
    else:
        offers = completion_words.offers(place, _asking(ctx, walk.globals))
    fitting = [one for one in offers if _fits(one.word, place.current)]
    for word, what, *_ in fitting:
        yield f"{word}\n" if word.startswith(":") else f"{place.lead}{word}\t{what}\n"
    words = [one.word for one in fitting if not one.word.startswith(":")]
    if words and all(word.endswith(":") for word in words):
        yield ":nospace\n"


def _fits(word: str, current: str) -> bool:
    """Whether it goes on from there; ``web:`` itself does not, and would keep files away."""
    if word.endswith((":", "=")) and word == current:
        return False
    return word.startswith((current, ":"))


def _plain(pairs: Iterable[tuple[str, str]]) -> list[Offer]:
    return [completion_words.Offer(*pair) for pair in pairs]


def _asking(ctx: click.Context, options: dict[str, str]) -> completion_words.Opener:
    """How to come to the engine: None where there is none yet, or not for this user."""
    app = context.app_of(ctx)
    app.root, app.state = options.get("root") or app.root, options.get("state") or app.state

    def engine() -> completion_words.AnyEngine | None:
        if app.check_root and (os.geteuid() != 0 or not Path(app.paths().database).exists()):
            return None
        return app.engine()

    return engine
