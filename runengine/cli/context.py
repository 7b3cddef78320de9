"""What every command needs: the engine, output, several targets, errors as one line."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from runengine.errors import EngineError, NotFound, NotModified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runengine.mgr.engine import Engine
    from runengine.paths import Paths


class App:
    """The program's state: global options and the engine, opened when a command first asks.

    ``runs`` is set while a command runs a process for the user (run, create, exec, start -a):
    its errors then exit 125, 126 or 127 and carry the program's name.
    """

    def __init__(self, opener: Callable[[Paths], Any] | None = None) -> None:
        self.root: str | None = None
        self.state: str | None = None
        self.cgroup_driver: str | None = None
        self.insecure: tuple[str, ...] = ()
        """Registries that need no TLS in this call."""
        self.debug = False
        self.runs = False
        self.check_root = opener is None
        self._opener = opener
        self._engine: Any = None
        self._told: set[str] = set()

    def paths(self) -> Paths:
        """Directories by the global options and the environment."""
        from runengine import paths

        return paths.resolve(self.root, self.state)

    def engine(self) -> Engine:
        """The engine; the same one however often it is asked for."""
        if self._engine is None:
            self._engine = self.open_engine()
        opened: Engine = self._engine
        return opened

    def open_engine(self) -> Engine:
        """One more engine on the same directories, for a thread of its own; the caller closes."""
        if self._opener is not None:
            fake: Engine = self._opener(self.paths())
            return fake
        from runengine.mgr.engine import Engine

        return Engine.open(
            self.paths(), cgroup_driver=self.cgroup_driver, insecure_registries=self.insecure
        )

    def close(self) -> None:
        """Close the engine if it was opened."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def leave(self) -> None:
        """Close it by the end of the process, which comes next."""
        if self._engine is not None:
            self._engine.leave()

    def tell(self) -> None:
        """Say on stderr what the engine has changed on the host, if it was opened; each once."""
        for notice in self._engine.notices if self._engine is not None else ():
            if notice not in self._told:
                self._told.add(notice)
                complain(notice, prefix="NOTICE: ")


def app_of(ctx: click.Context) -> App:
    """The program's state behind a command's context."""
    found = ctx.find_object(App)
    if found is None:
        raise RuntimeError("the command was not started by runengine.cli.main")
    return found


def engine(ctx: click.Context) -> Engine:
    """The engine of this call of the program."""
    return app_of(ctx).engine()


def tell() -> None:
    """Say now what the program would say at its end: a container's output is about to come."""
    ctx = click.get_current_context(silent=True)
    if ctx is not None:
        app_of(ctx).tell()


def newest_container(ctx: click.Context) -> str:
    """The id of the container that was created last: ``--latest``. Raises NotFound."""
    found = engine(ctx).containers.list(all=True, limit=1)
    if not found:
        raise NotFound("No such container: there is none that --latest could mean")
    return str(found[0]["Id"])


def starting(ctx: click.Context, *, runs: bool, needs_root: bool) -> None:
    """Note what kind of command begins. Raises EngineError when it needs root and is not."""
    app = app_of(ctx)
    app.runs = runs
    if needs_root and app.check_root and os.geteuid() != 0:
        raise EngineError(
            f"'{ctx.command_path}' must be run as root",
            resolution=f"try: sudo {ctx.command_path}",
        )


def write(text: str) -> None:
    """Write text to stdout at once, whatever its characters, in one go."""
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "replace")
    write_bytes(data)


def write_bytes(data: bytes) -> None:
    """Write bytes to stdout behind whatever was printed before, and flush."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def one_line(text: str) -> str:
    """``text`` on one line, with control characters made visible (they may come from an image)."""
    if text.isprintable():
        return text
    words = " ".join(text.split())
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)


def complain(message: str, *, prefix: str = "Error: ") -> None:
    """One line on stderr."""
    with suppress(OSError):  # a full disk is what there may be to complain of
        sys.stdout.flush()
    write_error(f"{prefix}{one_line(message)}\n")


def write_error(text: str) -> None:
    """Write text to stderr. Where nobody can read it, the exit code still tells."""
    with suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


def warn(message: str) -> None:
    """One warning on stderr."""
    complain(message, prefix="WARNING: ")


def for_each(
    names: Iterable[str],
    act: Callable[[str], str | None],
    *,
    tolerated: tuple[type[EngineError], ...] = (),
) -> None:
    """Do ``act`` to each name and print what it returns (by default the name).

    An object that already is in the asked-for state counts as done. Errors are printed when all
    were tried, and then the program exits 1, unless only ``tolerated`` ones were among them.
    """
    errors: list[EngineError] = []
    for name in names:
        try:
            result = act(name)
        except NotModified:
            result = name
        except EngineError as exc:
            errors.append(exc)
            continue
        write(f"{name if result is None else result}\n")
    for error in errors:
        complain(str(error))
    if any(not isinstance(error, tolerated) for error in errors):
        raise click.exceptions.Exit(1)
