"""Commands that change a container's state, from ``start`` to ``rm``, and ``rename``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runengine.cli import at_once, context, terminal
from runengine.cli.command import argument, command
from runengine.cli.flags import flag
from runengine.errors import InvalidParameter, NotFound, NotModified, StateError, Unsupported

if TYPE_CHECKING:
    from runengine.mgr.engine import Engine

_CONTAINERS = "[OPTIONS] CONTAINER [CONTAINER...]"


def _timeout() -> click.Option:
    return flag(
        "-t --timeout --time", "int", help="Seconds to wait before killing the container"
    )


@command(
    "start",
    usage=_CONTAINERS,
    params=[
        flag("-a --attach", "bool", help="Attach STDOUT/STDERR and forward signals"),
        flag("-i --interactive", "bool", help="Attach container's STDIN"),
        flag("--detach-keys", help="Override the key sequence for detaching a container"),
        flag("--checkpoint", hidden=True),
        flag("--checkpoint-dir", hidden=True),
    ],
)
@argument("names", nargs=-1, required=True)
@click.pass_context
def start(ctx: click.Context, /, **params: Any) -> None:
    """Start one or more stopped containers."""
    if params["checkpoint"] or params["checkpoint_dir"]:
        raise Unsupported("--checkpoint is not supported", resolution="start without it")
    engine = context.engine(ctx)
    if params["attach"] or params["interactive"]:
        if len(params["names"]) > 1:
            raise InvalidParameter("you cannot start and attach multiple containers at once")
        context.app_of(ctx).runs = True
        ctx.exit(_start_attached(ctx, params))

    def act(name: str) -> None:
        engine.containers.start(name)

    context.for_each(params["names"], act)


def _start_attached(ctx: click.Context, params: dict[str, Any]) -> int:
    from runengine.cli import run_flags
    from runengine.cli.foreground import attach_running, start_attached
    from runengine.monitor.protocol import AttachOptions

    engine = context.engine(ctx)
    keys = run_flags.detach_keys(params["detach_keys"])
    found = engine.containers.inspect(params["names"][0])
    tty = found["Config"]["Tty"]
    stdin = params["interactive"] and found["Config"]["OpenStdin"]
    terminal.check_tty(attach_stdin=stdin, tty=tty)
    options = AttachOptions(stdin=stdin)
    try:
        return start_attached(
            engine,
            found["Id"],
            options,
            tty=tty,
            detach_keys=keys,
            sig_proxy=params["attach"],
            console_size=terminal.size() if tty else None,
        )
    except NotModified:  # it runs already: as with Docker we join it
        return attach_running(
            engine,
            found["Id"],
            options,
            tty=tty,
            detach_keys=keys,
            sig_proxy=params["attach"],
        )


@command(
    "stop",
    usage=_CONTAINERS,
    params=[flag("-s --signal", help="Signal to send to the container"), _timeout()],
)
@argument("names", nargs=-1, required=True)
@click.pass_context
def stop(ctx: click.Context, /, **params: Any) -> None:
    """Stop one or more running containers."""

    def act(engine: Engine, name: str) -> None:
        engine.containers.stop(name, timeout_s=params["timeout"], signal=params["signal"])

    at_once.for_each(ctx, params["names"], act)


@command(
    "restart",
    usage=_CONTAINERS,
    params=[flag("-s --signal", help="Signal to send to the container"), _timeout()],
)
@argument("names", nargs=-1, required=True)
@click.pass_context
def restart(ctx: click.Context, /, **params: Any) -> None:
    """Restart one or more containers."""

    def act(engine: Engine, name: str) -> None:
        engine.containers.restart(name, timeout_s=params["timeout"], signal=params["signal"])

    at_once.for_each(ctx, params["names"], act)


@command(
    "kill",
    usage=_CONTAINERS,
    params=[flag("-s --signal", help="Signal to send to the container", default="KILL")],
)
@argument("names", nargs=-1, required=True)
@click.pass_context
def kill(ctx: click.Context, /, **params: Any) -> None:
    """Kill one or more running containers."""

    def act(engine: Engine, name: str) -> None:
        engine.containers.kill(name, params["signal"])

    at_once.for_each(ctx, params["names"], act)


@command("pause", usage="CONTAINER [CONTAINER...]")
@argument("names", nargs=-1, required=True)
@click.pass_context
def pause(ctx: click.Context, /, names: tuple[str, ...]) -> None:
    """Pause all processes within one or more containers."""
    context.for_each(names, context.engine(ctx).containers.pause)


@command("unpause", usage="CONTAINER [CONTAINER...]")
@argument("names", nargs=-1, required=True)
@click.pass_context
def unpause(ctx: click.Context, /, names: tuple[str, ...]) -> None:
    """Unpause all processes within one or more containers."""
    context.for_each(names, context.engine(ctx).containers.unpause)


@command("wait", usage="CONTAINER [CONTAINER...]")
@argument("names", nargs=-1, required=True)
@click.pass_context
def wait(ctx: click.Context, /, names: tuple[str, ...]) -> None:
    """Block until one or more containers stop, then print their exit codes."""

    def act(engine: Engine, name: str) -> str:
        waited = engine.containers.wait(name)
        if waited.exit_code is None:
            raise StateError(f"the exit code of {name} is unknown: {waited.error}")
        return str(waited.exit_code)

    at_once.for_each(ctx, names, act)


@command(
    "rm",
    usage=_CONTAINERS,
    params=[
        flag("-f --force", "bool", help="Force the removal of a running container (uses SIGKILL)"),
        flag("-l --link", "bool", help="Remove the specified link"),
        flag("-v --volumes", "bool", help="Remove anonymous volumes of the container"),
    ],
)
@argument("names", nargs=-1, required=True)
@click.pass_context
def rm(ctx: click.Context, /, **params: Any) -> None:
    """Remove one or more containers."""
    if params["link"]:
        # With Docker this keeps the container; never remove one by mistake.
        raise Unsupported("--link: there are no links", resolution="leave out -l to remove it")

    def act(engine: Engine, name: str) -> None:
        engine.containers.remove(name, force=params["force"], volumes=params["volumes"])

    # To have none there is what -f asks for, as with Docker.
    tolerated = (NotFound,) if params["force"] else ()
    at_once.for_each(ctx, params["names"], act, tolerated=tolerated)


@command("rename", usage="CONTAINER NEW_NAME")
@argument("name")
@argument("new_name")
@click.pass_context
def rename(ctx: click.Context, /, name: str, new_name: str) -> None:
    """Rename a container."""
    context.engine(ctx).containers.rename(name, new_name)


@command("cleanup", usage="CONTAINER", hidden=True)
@argument("name")
@click.pass_context
def cleanup(ctx: click.Context, /, name: str) -> None:
    """Tear down an exited container. The monitor runs this when no command waited for the end."""
    context.engine(ctx).containers.cleanup(name)
