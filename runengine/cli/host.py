"""What the service, systemd and the uninstaller call: at a start, an end, a violent death."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runengine.cli import context
from runengine.cli.command import command

if TYPE_CHECKING:
    from collections.abc import Sequence


@command("restore", hidden=True)
@click.pass_context
def restore(ctx: click.Context, /) -> None:
    """Bring every container in line with what it is to be. The service runs this at its start."""
    _report(ctx, context.engine(ctx).containers.restore())


@command("reconcile", hidden=True)
@click.pass_context
def reconcile(ctx: click.Context, /) -> None:
    """Put right what a violent death left. The service runs this when it hears of one."""
    _report(ctx, context.engine(ctx).containers.reconcile())


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
