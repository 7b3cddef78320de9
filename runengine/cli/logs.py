"""``logs``: what a container wrote."""

from __future__ import annotations

import sys
from typing import Any

import click

from runengine.cli import context
from runengine.cli.command import Option, argument, command

_WHEN = 'timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)'


@command(
    "logs",
    usage="[OPTIONS] CONTAINER",
    latest=True,
    params=[
        Option(["--details"], is_flag=True, help="Show extra details provided to logs"),
        Option(["-f", "--follow"], is_flag=True, help="Follow log output"),
        Option(["--since"], metavar="string", default="", help=f"Show logs since {_WHEN}"),
        Option(
            ["-n", "--tail"],
            metavar="string",
            default="all",
            help="Number of lines to show from the end of the logs",
        ),
        Option(["-t", "--timestamps"], is_flag=True, help="Show timestamps"),
        Option(["--until"], metavar="string", default="", help=f"Show logs before a {_WHEN}"),
    ],
)
@argument("name")
@click.pass_context
def logs(ctx: click.Context, /, **options: Any) -> None:
    """Fetch the logs of a container."""
    context.engine(ctx).containers.logs(
        options["name"],
        emit=emit,
        stdout=True,
        stderr=True,
        since=options["since"] or None,
        until=options["until"] or None,
        tail=options["tail"],
        follow=options["follow"],
        timestamps=options["timestamps"],
        details=options["details"],
    )


def emit(stream: str, data: bytes) -> None:
    """Write a block to our own stream of that name, at once."""
    out = (sys.stderr if stream == "stderr" else sys.stdout).buffer
    out.write(data)
    out.flush()
