"""``serve``: the service."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context
from runengine.cli.command import command
from runengine.cli.flags import flag
from runengine.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.paths import Paths


@command(
    "serve",
    params=[
        flag("--metrics", help="Serve Prometheus metrics on HOST:PORT or unix:/path"),
    ],
)
@click.pass_context
def serve(ctx: click.Context, /, **params: Any) -> None:
    """Run the service: warm starts, restart policies, restore at boot.

    Commands find it by itself and are several times faster with it; without it they work as
    well. Stopping it, restarting it or upgrading it never touches a running container.

    It stays in the foreground until SIGTERM or SIGINT; commands under way go on to their end.
    At its start it brings back every container that is to run. There is one service for a
    --root and a --state; another one is refused and told who holds them. Its log is standard
    error; where systemd started it, it says when it is ready and takes the socket from there.

    A command is served for root alone, and where the caller's namespaces, root directory and
    privileges are the service's; others run by themselves. RUNENGINE_LAUNCHER=off in a
    command's environment makes it do so always, =require makes it fail instead.

    Metrics are off unless asked for here or by metrics_address in the configuration file.
    """
    from runengine import config
    from runengine.cli.preload import preload
    from runengine.cli.rehearsal import Rehearsal
    from runengine.launcher import main as launcher

    paths = context.app_of(ctx).paths()
    settings = config.load_apart(paths)
    address = params["metrics"] or settings.metrics_address
    side = _metrics(paths, address) if address else None
    preload()
    rehearsal = Rehearsal(f"{paths.state}/rehearsal")
    where = ["--root", paths.root, "--state", paths.state]
    calls = _Calls()
    launcher.serve(
        launcher.Setup(
            paths,
            calls.run,
            calls.close,
            restore=[*where, "system", "restore"],
            reconcile=[*where, "system", "reconcile"],
            mend=[*where, "system", "mend"],
            hold=partial(_hold, paths),
            rehearsal=rehearsal,
            side=side,
        )
    )


class _Calls:
    """The calls of a process, one after the other: each has a program's state of its own."""

    def __init__(self) -> None:
        self._app = context.App()

    def run(self, args: list[str]) -> int:
        """Run a command line; its exit code."""
        from runengine.cli.main import run

        self._app = context.App()
        return run(args, self._app)

    def close(self) -> None:
        """Close what the last one has opened."""
        self._app.close()


def _hold(paths: Paths) -> object:
    """The database: who closes it last folds its log, and the next to write syncs a new one."""
    from runengine.store.store import Store

    try:
        held = Store.open(paths)
        # SQLite keeps the descriptor of each that is closed while there is another, for the next.
        Store.open(paths).close()
    except EngineError:
        return None  # the call itself will say so
    return held


def _metrics(paths: Paths, address: str) -> Callable[[], int]:
    from runengine.launcher import exporter

    def run() -> int:
        exporter.serve(paths, address, None)

    exporter.parse_address(address)  # a mistake is told before anything runs
    return run
