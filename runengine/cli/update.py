"""``update``, and what the service and the units run: ``system restore``, ``system halt``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runengine.cli import at_once, context
from runengine.cli.command import argument, command
from runengine.cli.flags import flag
from runengine.cli.run_values import restart_policy
from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.mgr.engine import Engine


@command(
    "update",
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    params=[
        flag(
            "--restart",
            help="Restart policy to apply when a container exits",
            convert=restart_policy,
        ),
    ],
)
@argument("names", nargs=-1, required=True)
@click.pass_context
def update(ctx: click.Context, /, **params: Any) -> None:
    """Update configuration of one or more containers."""
    policy = params["restart"]
    if policy is None:
        raise InvalidParameter("you must provide one or more flags when using this command")

    def act(engine: Engine, name: str) -> None:
        for text in engine.containers.update(name, restart_policy=policy):
            context.warn(text)

    at_once.for_each(ctx, params["names"], act)


@command("restore", hidden=True)
@click.pass_context
def restore(ctx: click.Context, /) -> None:
    """Bring every container in line with what it is to be. The service runs this at its start."""
    _report(ctx, context.engine(ctx).containers.restore())


@command("halt", hidden=True)
@click.pass_context
def halt(ctx: click.Context, /) -> None:
    """Stop every container because the host goes down; those that are to run come back with it."""
    _report(ctx, context.engine(ctx).containers.halt())


def _report(ctx: click.Context, problems: Sequence[str]) -> None:
    for text in problems:
        context.complain(text)
    if problems:
        ctx.exit(1)
