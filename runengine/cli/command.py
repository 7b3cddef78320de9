"""The command class: click with the habits of Docker's command line.

Docker parses flags with pflag, which differs from click in what users notice: boolean flags take
``--rm=false``, short options take ``-n=5``, errors say which argument was bad and where to look.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FLAG_ERROR = 125
ARGUMENT_ERROR = 1
_LATEST = "latest"
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class FlagError(click.UsageError):
    """A flag that does not exist, lacks its value or has a wrong one."""

    exit_code = FLAG_ERROR


class ArgumentError(click.UsageError):
    """Too many or too few arguments, or an unknown command."""

    exit_code = ARGUMENT_ERROR


class Option(click.Option):
    """An option whose help text is set without click's import of ``inspect`` (5 ms)."""

    def __init__(self, names: list[str], *, help: str | None = None, **kwargs: Any) -> None:
        super().__init__(names, **kwargs)
        self.help = help

    @property
    def switches(self) -> bool:
        """Whether this is a boolean that takes no value."""
        return bool(self.is_flag and self.is_bool_flag and self.callback is None)


def option(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    """``click.option`` with our ``Option``; ``metavar`` is pflag's word (string, int, list)."""
    return click.option(*names, cls=Option, **attributes)


def argument(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    """``click.argument`` for strings."""
    return click.argument(*names, **attributes)


def help_option(params: list[click.Parameter]) -> Option:
    """``--help``, and ``-h`` where no other option has it."""
    taken = any("-h" in param.opts for param in params)
    return Option(
        ["--help"] if taken else ["-h", "--help"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show_help,
    )


def _latest_option(params: list[click.Parameter]) -> Option:
    taken = any("-l" in param.opts for param in params)
    return Option(
        ["--latest"] if taken else ["-l", "--latest"],
        is_flag=True,
        expose_value=False,
        help="Act on the container that was created last",
    )


def _show_help(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(ctx.get_help())
        ctx.exit()


def flag_value(text: str) -> bool | None:
    """The boolean that pflag reads in ``--flag=text``, or None when it is none."""
    if text in _TRUE:
        return True
    return False if text in _FALSE else None


def nearest(word: str, known: Iterable[str]) -> str:
    """`` (did you mean X?)`` for what differs little from something known, else nothing."""
    from difflib import get_close_matches

    found = get_close_matches(word, list(known), n=1, cutoff=0.75)
    return f" (did you mean {found[0]}?)" if found else ""


class Normaliser:
    """Rewrites pflag's spellings into click's and takes the boolean flags out.

    After ``run()``, ``args`` are what click is to parse, ``given`` the options among them, and
    ``switches`` holds the booleans given.
    """

    def __init__(self, ctx: click.Context, params: list[click.Parameter]) -> None:
        self.ctx = ctx
        self.options: dict[str, click.Option] = {}
        for param in params:
            if isinstance(param, click.Option):
                for name in (*param.opts, *param.secondary_opts):
                    self.options[name] = param
        self.args: list[str] = []
        self.given: set[click.Parameter] = set()
        self.positional: list[str] = []
        self.switches: dict[str, bool] = {}
        self.wants_help = False

    def run(self, args: list[str], *, interspersed: bool) -> None:
        """Walk ``args``; with ``interspersed`` False the first argument ends the options."""
        rest = list(args)
        while rest:
            word = rest.pop(0)
            if word == "--":
                self.positional += rest
                return
            if len(word) < 2 or word[0] != "-":
                self.positional.append(word)
                if not interspersed:
                    self.positional += rest
                    return
            elif word.startswith("--"):
                self._long(word, rest)
            else:
                self._short(word, rest)

    def _fail(self, message: str) -> FlagError:
        return FlagError(message, self.ctx)

    def _long(self, word: str, rest: list[str]) -> None:
        name, equals, value = word.partition("=")
        known = self.options.get(name)
        if known is None:
            raise self._fail(f"unknown flag: {name}{nearest(name, self.options)}")
        if not _takes_value(known):
            self._switch(known, value if equals else "true")
        elif equals:
            self._option(known, name, value)
        elif rest:
            self._option(known, name, rest.pop(0))
        else:
            raise self._fail(f"flag needs an argument: {name}")

    def _short(self, word: str, rest: list[str]) -> None:
        letters = word[1:]
        while letters:
            name, letters = "-" + letters[0], letters[1:]
            known = self.options.get(name)
            if known is None:
                raise self._fail(f"unknown shorthand flag: {name[1]!r} in {word}")
            if _takes_value(known):
                if not letters and not rest:
                    raise self._fail(f"flag needs an argument: {name[1]!r} in {word}")
                value = letters.removeprefix("=") if letters else rest.pop(0)
                self._option(known, name, value)
                return
            if letters.startswith("="):
                self._switch(known, letters[1:])
                return
            self._switch(known, "true")

    def _option(self, known: click.Option, *words: str) -> None:
        self.given.add(known)
        self.args += words

    def _switch(self, known: click.Option, text: str) -> None:
        if not (isinstance(known, Option) and known.switches and known.name):
            self.wants_help |= "--help" in known.opts
            self._option(known, known.opts[-1])
            return
        value = flag_value(text)
        if value is None:
            raise self._fail(f'invalid argument "{text}" for "{flag_names(known)}" flag')
        self.switches[known.name] = value


def _takes_value(known: click.Option) -> bool:
    return not known.is_flag and not known.count


def flag_names(known: click.Option) -> str:
    """``-n, --last``: how pflag names an option in its errors."""
    return ", ".join(sorted(known.opts, key=len))


class Command(click.Command):
    """A command: ``usage`` is what follows its name in the usage line.

    ``runs``: the command runs a process for the user, so its failures use Docker's codes 125,
    126 and 127. ``interspersed`` False: options end at the first argument (run, exec).
    ``needs_root`` False: the command also serves other users. ``latest``: ``--latest`` stands for
    the first argument, and is ``-l`` too where nothing else is.
    """

    def __init__(
        self,
        *args: Any,
        usage: str = "[OPTIONS]",
        runs: bool = False,
        interspersed: bool = True,
        needs_root: bool = True,
        latest: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.latest = latest
        if latest:
            self.params.append(_latest_option(self.params))
        self.usage = usage
        self.runs = runs
        self.needs_root = needs_root
        self.allow_interspersed_args = interspersed

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as pflag would; raises FlagError and ArgumentError."""
        params = self.get_params(ctx)
        words = Normaliser(ctx, params)
        words.run(args, interspersed=self.allow_interspersed_args)
        if not words.wants_help:
            if self.latest and words.switches.pop(_LATEST, False):
                words.positional.insert(0, self._newest(ctx))
            self._check_count(ctx, len(words.positional))
        present = [param for param in params if param in words.given or not _may_be_absent(param)]
        try:
            rest = _parse(ctx, present, [*words.args, "--", *words.positional])
        except click.BadParameter as exc:
            raise _bad_value(exc, ctx) from exc
        ctx.params = {**self._absent, **ctx.params}
        for name, value in words.switches.items():
            ctx.params[name] = value
            ctx.set_parameter_source(name, ParameterSource.COMMANDLINE)
        return rest

    @cached_property
    def _absent(self) -> dict[str, Any]:
        """Values of the options that are not given."""
        ctx = click.Context(self)
        _parse(ctx, [param for param in self.params if _may_be_absent(param)], [])
        return ctx.params

    def _newest(self, ctx: click.Context) -> str:
        from runengine.cli import context

        context.starting(ctx, runs=self.runs, needs_root=self.needs_root)
        return context.newest_container(ctx)

    def _check_count(self, ctx: click.Context, given: int) -> None:
        arguments = [p for p in self.params if isinstance(p, click.Argument)]
        least = sum(max(p.nargs, 1) for p in arguments if p.required)
        most = None if any(p.nargs < 0 for p in arguments) else sum(p.nargs for p in arguments)
        if given >= least and (most is None or given <= most):
            return
        if most == 0:
            wanted = "accepts no arguments"
        else:
            bound = "" if least == most else "at least " if given < least else "at most "
            count = least if given < least else most or 0
            wanted = f"requires {bound}{count} argument{'s' if count != 1 else ''}"
        raise ArgumentError(f"runengine: '{ctx.command_path}' {wanted}", ctx)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; says at once when the caller is not root."""
        from runengine.cli import context

        context.starting(ctx, runs=self.runs, needs_root=self.needs_root)
        return super().invoke(ctx)

    def get_help_option(self, ctx: click.Context) -> click.Option:  # noqa: ARG002
        """Our own, because click's imports ``inspect``."""
        return help_option(self.params)

    def get_help(self, ctx: click.Context) -> str:
        """Help laid out as Docker's."""
        from runengine.cli import help_page

        return help_page.command_help(self, ctx)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """What follows the command's name in the usage line."""
        return [self.usage]


def _may_be_absent(param: click.Parameter) -> bool:
    """Whether it is always the same where it is not given."""
    if not isinstance(param, click.Option) or param.required:
        return False
    return param.callback is None or not param.expose_value


def _parse(ctx: click.Context, params: list[click.Parameter], args: list[str]) -> list[str]:
    """Let click parse with these parameters only: each costs it time, given or not."""
    parser = click.Command(None, params=params, add_help_option=False)
    return parser.parse_args(ctx, args)


def _bad_value(exc: click.BadParameter, ctx: click.Context) -> click.UsageError:
    if isinstance(exc.param, click.Option):
        names = flag_names(exc.param)
        return FlagError(f'invalid argument for "{names}" flag: {exc.message}', ctx)
    return ArgumentError(f"runengine: {exc.message}", ctx)


def command(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Command]:
    """``click.command`` with our ``Command``; the docstring is the help."""
    return click.command(name, cls=Command, **attributes)
