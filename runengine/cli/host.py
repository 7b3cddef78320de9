"""What the service, systemd and the uninstaller call: at a start, an end, a violent death."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runengine.cli import context
from runengine.cli.command import command
from runengine.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.mgr.engine import Engine


@command("restore", hidden=True)
@click.pass_context
def restore(ctx: click.Context, /) -> None:
    """Bring every container in line with what it is to be. The service runs this at its start."""
    engine = context.engine(ctx)
    _report(ctx, [*_mended(engine), *engine.containers.restore()])


@command("reconcile", hidden=True)
@click.pass_context
def reconcile(ctx: click.Context, /) -> None:
    """Put right what a violent death left. The service runs this when it hears of one."""
    _report(ctx, context.engine(ctx).containers.reconcile())


@command("mend", hidden=True)
@click.pass_context
def mend(ctx: click.Context, /) -> None:
    """Write a flushed firewall anew. The service runs this when it hears of a flush."""
    _report(ctx, _mended(context.engine(ctx)))


def _mended(engine: Engine) -> Sequence[str]:
    """See to the firewall first: running containers are cut off without it. What went wrong."""
    try:
        if engine.networks.mend():
            context.write_error("the firewall was flushed by somebody; it is written anew\n")
    except EngineError as error:
        return [str(error)]
    return []


@command("halt", hidden=True)
@click.pass_context
def halt(ctx: click.Context, /) -> None:
    """Stop every container because the host goes down; those that are to run come back with it."""
    _report(ctx, context.engine(ctx).containers.halt())


@command("leave", hidden=True)
@click.pass_context
def leave(ctx: click.Context, /) -> None:
    """Take bridges and firewall rules off the host that no container uses; they come back."""
    context.engine(ctx).networks.take_down()


def _report(ctx: click.Context, problems: Sequence[str]) -> None:
    for text in problems:
        context.complain(text)
    if problems:
        ctx.exit(1)
