"""``healthcheck run``: a container's health check, now and for whoever asks, as Podman has it."""

from __future__ import annotations

import click

from runengine.cli import context
from runengine.cli.command import argument, command
from runengine.cli.run_flags import detach_keys
from runengine.cli.streams_commands import exec_attached
from runengine.errors import Conflict


@command("run", usage="[OPTIONS] CONTAINER", runs=True, latest=True)
@argument("name")
@click.pass_context
def run(ctx: click.Context, /, name: str) -> None:
    """Run the health check of a container: exit 0 if it is healthy, 1 if not.

    What the check says is shown. The checks that the monitor runs go on beside it, and they alone
    decide the status.
    """
    from runengine import model
    from runengine.mgr.container import health

    engine = context.engine(ctx)
    words = health.command(engine.containers.inspect(name)["Config"])
    if words is None:
        raise Conflict(
            f"container {name} has no health check", resolution="it comes with run --health-cmd"
        )
    config = model.exec_config(words)
    config["AttachStdout"] = config["AttachStderr"] = True
    exec_id = engine.containers.create_exec(name, config)
    ctx.exit(1 if exec_attached(engine, exec_id, config, detach_keys(None)) else 0)
