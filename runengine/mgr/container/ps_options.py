"""Which columns options of ps(1) ask for, where there is no ps to ask.

Which processes they select does not matter: it is the container's that are shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter
from runengine.mgr.container import ps_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.mgr.container.ps_columns import Column

_LONG = ("--format", "-o", "o")
_SELECT = frozenset("aAdegNrTx")
_WIDE = frozenset("w")


def columns(words: Sequence[str]) -> list[Column]:
    """The columns. Raises InvalidParameter for what only ps itself can do."""
    reader = _Reader(list(words))
    reader.read()
    if reader.chosen:
        return reader.chosen
    return list(reader.form or ps_columns.PLAIN)


class _Reader:
    """Options one after the other."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self.chosen: list[Column] = []
        self.form: Sequence[Column] = ()

    def read(self) -> None:
        while self._words:
            word = self._words.pop(0)
            if word.startswith("--"):
                self._long(word)
            else:
                self._letters(word, bsd=not word.startswith("-"))

    def _long(self, word: str) -> None:
        name, equals, value = word.partition("=")
        if name != "--format":
            raise _only_ps(word)
        self._choose(value if equals else self._next(word))

    def _letters(self, word: str, *, bsd: bool) -> None:
        letters = word.removeprefix("-")
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter == "o":
                self._choose(letters or self._next(word))
                return
            if letter == "f" and not bsd:
                self.form = ps_columns.FULL
            elif letter == "u" and bsd:
                self.form = ps_columns.BY_USER
            elif letter not in _SELECT | _WIDE:
                raise _only_ps(word)

    def _next(self, word: str) -> str:
        if not self._words:
            raise InvalidParameter(f"ps {word}: format specification must follow -o")
        return self._words.pop(0)

    def _choose(self, text: str) -> None:
        """``pid,comm``; what follows ``=`` is all one title, as ps has it."""
        names, equals, title = text.partition("=")
        found = names.replace(" ", ",").split(",")
        self.chosen += [ps_columns.column(name) for name in found[:-1]]
        self.chosen.append(ps_columns.column(found[-1], title if equals else None))


def _only_ps(word: str) -> InvalidParameter:
    return InvalidParameter(
        f"ps {word}: this host has no ps, and without it only -e, -f, -o, u and their like work",
        resolution="apt-get install procps",
    )
