"""``spec``: a bundle for a plain OCI runtime."""

from __future__ import annotations

from typing import Any

import click

from runengine.cli import context, run, run_flags, run_table
from runengine.cli.command import command


@command(
    "spec",
    params=run_table.spec_params(),
    usage="--bundle DIR [OPTIONS] IMAGE [COMMAND] [ARG...]",
    interspersed=False,
)
@click.pass_context
def spec(ctx: click.Context, /, **params: Any) -> None:
    """Write a bundle that the OCI runtime can run.

    Takes the options of run; the bundle is started by: runc run -b DIR NAME
    """
    request = run_flags.build(params)
    engine = context.engine(ctx)
    run.ensure_image(engine, request)
    for text in engine.containers.write_bundle(request.config, request.host, params["bundle"]):
        context.warn(text)
