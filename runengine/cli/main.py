"""The program. Commands are imported when used: see ``table_of_commands``."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import click

from runengine.cli.command import Option
from runengine.cli.context import App, complain, write_error
from runengine.cli.lazy import LazyGroup
from runengine.cli.table_of_commands import TOP_LEVEL
from runengine.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = "runengine"
INTERRUPTED = 130
BROKEN_PIPE = 141


class Program(LazyGroup):
    """The root group; ``main`` renders every error and exits with Docker's codes."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, *, obj: App | None = None, **_: Any
    ) -> NoReturn:
        """Run the program and exit; what click's test runner calls too."""
        sys.exit(execute(list(sys.argv[1:] if args is None else args), obj))


@click.pass_context
def _begin(ctx: click.Context, /, **options: Any) -> None:
    app = ctx.obj
    app.root, app.state, app.debug = options["root"], options["state"], options["debug"]
    app.cgroup_driver = options["cgroup_manager"]
    if options["config"]:
        os.environ["DOCKER_CONFIG"] = options["config"]


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from runengine import __version__

        click.echo(f"runengine version {__version__}")
        ctx.exit()


program = Program(
    PROGRAM,
    table=TOP_LEVEL,
    callback=_begin,
    help="A container engine for Linux that drives runc directly",
    params=[
        Option(["--root"], metavar="string", help="Directory of persistent state"),
        Option(["--state"], metavar="string", help="Directory of state that a reboot clears"),
        Option(
            ["--cgroup-manager"],
            metavar="string",
            help="Who makes the cgroups of new containers (cgroupfs, systemd)",
        ),
        Option(
            ["--config"], metavar="string", help="Directory of logins (default ~/.docker)"
        ),
        # There is no daemon whose messages would have levels.
        Option(["-l", "--log-level"], metavar="string", expose_value=False, hidden=True),
        Option(["-D", "--debug"], is_flag=True, help="Show where an unexpected error happened"),
        Option(
            ["-v", "--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Print version information and quit",
        ),
    ],
)


def execute(args: list[str], app: App | None = None) -> int:
    """Run one command line and close the engine; returns the exit code."""
    app = app or App()
    try:
        return run(args, app)
    finally:
        app.close()


def run(args: list[str], app: App) -> int:
    """Run one command line; returns the exit code. Every error becomes a line on stderr."""
    try:
        return _run(args, app)
    finally:
        app.tell()


def _run(args: list[str], app: App) -> int:
    try:
        with program.make_context(PROGRAM, args, obj=app) as ctx:
            program.invoke(ctx)
        sys.stdout.flush()
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.UsageError as exc:
        return _usage_error(exc)
    except EngineError as exc:
        complain(str(exc), prefix="runengine: " if app.runs else "Error: ")
        return exc.exit_code if app.runs else 1
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except Exception as exc:  # noqa: BLE001
        return _unexpected(exc, app)
    return 0


def _usage_error(exc: click.UsageError) -> int:
    """Docker's three paragraphs: what is wrong, the usage, where to read more."""
    text = exc.format_message()
    if exc.ctx is not None:
        pieces = " ".join(exc.ctx.command.collect_usage_pieces(exc.ctx))
        path = exc.ctx.command_path
        text += f"\n\nUsage:  {path} {pieces}\n\nSee '{path} --help' for more information"
    write_error(text + "\n")
    return 125 if exc.exit_code == click.UsageError.exit_code else exc.exit_code


def _unexpected(exc: Exception, app: App) -> int:
    """An error that no layer below turned into an EngineError."""
    if isinstance(exc, BrokenPipeError) and _stdout_is_gone():
        return BROKEN_PIPE
    if app.debug:
        import traceback

        traceback.print_exception(exc)
    if isinstance(exc, OSError):
        complain(_describe(exc), prefix="runengine: " if app.runs else "Error: ")
    else:
        complain(
            f"internal error: {type(exc).__name__}: {exc} "
            "(this is a fault of runengine: run again with --debug and report it)",
            prefix="runengine: " if app.runs else "Error: ",
        )
    return 125 if app.runs else 1


def _describe(exc: OSError) -> str:
    names = [repr(name) for name in (exc.filename, exc.filename2) if name is not None]
    what = exc.strerror or str(exc)
    return f"{' and '.join(names)}: {what}" if names else what


def _stdout_is_gone() -> bool:
    """Whether our reader left; then make sure that the interpreter's last flush is quiet."""
    import select

    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
        events = poll.poll(0)
    except (OSError, ValueError):
        return False
    if not events:
        return False
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    return True


def main() -> NoReturn:
    """Entry point of the ``runengine`` script."""
    _open_standard_streams()
    app = App()
    try:
        code = run(sys.argv[1:], app)
    finally:
        app.leave()
    if code == INTERRUPTED:
        _die_of_interrupt()
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Exit at once: taking the interpreter apart costs 5 ms and changes nothing."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _open_standard_streams() -> None:
    """Fill the places of closed standard streams, or the next file opened would take them over.

    A database as descriptor 1 would get what commands print.
    """
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # Both ways, so that neither reading nor writing fails; the lowest free one is ours.
            os.open(os.devnull, os.O_RDWR)
            stream = open(fd, "r" if fd == 0 else "w", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def _die_of_interrupt() -> None:
    """Die of SIGINT, so that a shell's loop around us ends too."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main()
