"""Where the cursor of a half-typed command line is: at a command, an option or its value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from runengine.cli.lazy import LazyGroup

if TYPE_CHECKING:
    from collections.abc import Sequence


_HELP = "help:help_command"


class Place(NamedTuple):
    """What is being typed, and after what."""

    command: click.Command
    """The group or command that the words before have led to."""
    target: str
    """Where its code is, as in ``table_of_commands``: the same for all names of a command."""
    current: str
    """What there is of the word."""
    lead: str = ""
    """What of the word is settled: ``--network=``."""
    option: click.Option | None = None
    """The option whose value it is."""
    wants_option: bool = False
    """It begins as an option does."""
    arguments: Sequence[str] = ()
    """The command's arguments before it."""


class Walk:
    """Goes through the words before the cursor; a wrong one leads nowhere."""

    def __init__(self, program: LazyGroup) -> None:
        self.command: click.Command = program
        self.target = ""
        self.globals: dict[str, str] = {}
        """Values of the program's own options."""
        self._arguments: list[str] = []
        self._pending: click.Option | None = None
        self._only_arguments = False
        self._lost = False
        self._program = program
        self._is_topic = False
        self._options = _options_of(program)

    def place(self, words: Sequence[str], current: str) -> Place | None:
        """The place of ``current`` after ``words``; None where nothing can be known."""
        for word in words:
            self._take(word)
        if self._lost or (self._is_topic and not isinstance(self.command, LazyGroup)):
            return None
        here = Place(self.command, self.target, current, arguments=tuple(self._arguments))
        if self._pending is not None:
            return here._replace(option=self._pending)
        if self._only_arguments or not current.startswith("-"):
            return here
        name, equals, value = current.partition("=")
        if name.startswith("--") and equals:
            known = self._options.get(name)
            if known is None:
                return None
            return here._replace(option=known, lead=f"{name}=", current=value)
        return here._replace(wants_option=True)

    def _take(self, word: str) -> None:
        if self._pending is not None:
            self._note(self._pending, word)
            self._pending = None
        elif self._only_arguments or word == "-" or not word.startswith("-"):
            self._argument(word)
        elif word == "--":
            self._only_arguments = True
        elif word.startswith("--"):
            name, equals, value = word.partition("=")
            known = self._options.get(name)
            if equals and known:
                self._note(known, value)
            elif known and _takes_value(known):
                self._pending = known
        else:
            self._letters(word[1:])

    def _letters(self, letters: str) -> None:
        """``-it``, ``-n5``: what follows a letter that takes a value is the value."""
        for number, letter in enumerate(letters, 1):
            known = self._options.get(f"-{letter}")
            if known and _takes_value(known):
                if number == len(letters):
                    self._pending = known
                return

    def _argument(self, word: str) -> None:
        if not isinstance(self.command, LazyGroup):
            self._arguments.append(word)
            self._only_arguments |= not self.command.allow_interspersed_args
            return
        found = self.command.get_command(click.Context(self.command), word)
        if found is None:
            self._lost = True
            return
        self.target = self.command.table[word].target
        self._options = _options_of(found)
        self._is_topic |= self.target == _HELP
        # What follows "help" is a command as well.
        self.command = self._program if self.target == _HELP else found

    def _note(self, known: click.Option, value: str) -> None:
        if not self.target and known.name:
            self.globals[known.name] = value


def options_at(place: Place) -> list[tuple[str, str]]:
    """The options of the command there, with the first line of their help."""
    shown = {
        param.name: param
        for param in _options_of(place.command).values()
        if not param.hidden and param.name
    }
    return sorted(
        (name, (param.help or "Print usage").partition("\n")[0])
        for param in shown.values()
        for name in param.opts
        if name.startswith("--")
    )


def commands_at(place: Place) -> list[tuple[str, str]]:
    """The commands of the group there, aliases left out."""
    if not isinstance(place.command, LazyGroup):
        return []
    names = place.command.list_commands(click.Context(place.command))
    return [(name, place.command.table[name].brief) for name in names]


def _takes_value(known: click.Option) -> bool:
    return not known.is_flag and not known.count


def _options_of(command: click.Command) -> dict[str, click.Option]:
    return {
        name: param
        for param in command.get_params(click.Context(command))
        if isinstance(param, click.Option)
        for name in param.opts
    }
