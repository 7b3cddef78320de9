"""Commands that change a container's state, from ``start`` to ``rm``, and ``rename``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runengine.cli import at_once, context, selection, terminal
from runengine.cli.command import argument, command
from runengine.cli.flags import flag
from runengine.errors import InvalidParameter, NotFound, NotModified, StateError, Unsupported

if TYPE_CHECKING:
    from runengine.mgr.container.checkpoint_restore import Wanted
    from runengine.mgr.engine import Engine

_CONTAINERS = "[OPTIONS] CONTAINER [CONTAINER...]"


def _timeout() -> click.Option:
    return flag(
        "-t --timeout --time", "int", help="Seconds to wait before killing the container"
    )


def _condition(text: str) -> str:
    """Docker's words of its HTTP interface; Podman's for the same."""
    return "not-running" if text in ("stopped", "exited") else text


@command(
    "start",
    usage=_CONTAINERS,
    latest=True,
    params=[
        *selection.options("Start all containers that do not run", names="--all"),
        flag("-a --attach", "bool", help="Attach STDOUT/STDERR and forward signals"),
        flag("-i --interactive", "bool", help="Attach container's STDIN"),
        flag("--detach-keys", help="Override the key sequence for detaching a container"),
        flag("--checkpoint", help="Restore from this checkpoint"),
        flag("--checkpoint-dir", help="Use a custom checkpoint storage directory"),
    ],
)
@argument("names", nargs=-1)
@click.pass_context
def start(ctx: click.Context, /, **params: Any) -> None:
    """Start one or more stopped containers."""
    chosen = selection.choose(ctx, params, selection.DOWN)
    if params["checkpoint"] and len(chosen.names) != 1:
        raise InvalidParameter("you cannot restore multiple containers at once")
    engine = context.engine(ctx)
    if params["attach"] or params["interactive"]:
        if len(chosen.names) != 1:
            raise InvalidParameter("you cannot start and attach multiple containers at once")
        context.app_of(ctx).runs = True
        ctx.exit(_start_attached(ctx, chosen.names[0], params))

    wanted = _checkpoint(params)

    def act(name: str) -> None:
        engine.containers.start(name, checkpoint=wanted)

    context.for_each(chosen.names, act)


def _checkpoint(params: dict[str, Any]) -> Wanted | None:
    """What to restore, if anything. A directory alone says nothing, as with Docker."""
    if not params["checkpoint"]:
        return None
    from runengine.cli.checkpoint import absolute
    from runengine.mgr.container.checkpoint_restore import Wanted

    return Wanted(params["checkpoint"], absolute(params["checkpoint_dir"]))


def _start_attached(ctx: click.Context, name: str, params: dict[str, Any]) -> int:
    from runengine.cli import run_flags
    from runengine.cli.foreground import attach_running, start_attached
    from runengine.monitor.protocol import AttachOptions

    engine = context.engine(ctx)
    keys = run_flags.detach_keys(params["detach_keys"])
    found = engine.containers.inspect(name)
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
            checkpoint=_checkpoint(params),
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
    latest=True,
    params=[
        *selection.options("Stop all running containers", ignore=True),
        flag("-s --signal", help="Signal to send to the container"),
        _timeout(),
    ],
)
@argument("names", nargs=-1)
@click.pass_context
def stop(ctx: click.Context, /, **params: Any) -> None:
    """Stop one or more running containers."""

    def act(engine: Engine, name: str) -> None:
        engine.containers.stop(name, timeout_s=params["timeout"], signal=params["signal"])

    selection.for_each(ctx, params, selection.UP, act)


@command(
    "restart",
    usage=_CONTAINERS,
    latest=True,
    params=[
        *selection.options("Restart all containers, running or not"),
        flag("--running", "bool", help="Restart all running containers"),
        flag("-s --signal", help="Signal to send to the container"),
        _timeout(),
    ],
)
@argument("names", nargs=-1)
@click.pass_context
def restart(ctx: click.Context, /, **params: Any) -> None:
    """Restart one or more containers."""

    def act(engine: Engine, name: str) -> None:
        engine.containers.restart(name, timeout_s=params["timeout"], signal=params["signal"])

    params["everything"] |= params["running"]
    states = selection.RUNNING if params["running"] else selection.ANY
    selection.for_each(ctx, params, states, act)


@command(
    "kill",
    usage=_CONTAINERS,
    latest=True,
    params=[
        *selection.options("Signal all running containers"),
        flag("-s --signal", help="Signal to send to the container", default="KILL"),
    ],
)
@argument("names", nargs=-1)
@click.pass_context
def kill(ctx: click.Context, /, **params: Any) -> None:
    """Kill one or more running containers."""

    def act(engine: Engine, name: str) -> None:
        engine.containers.kill(name, params["signal"])

    selection.for_each(ctx, params, selection.UP, act)


@command(
    "pause",
    usage=_CONTAINERS,
    latest=True,
    params=selection.options("Pause all running containers"),
)
@argument("names", nargs=-1)
@click.pass_context
def pause(ctx: click.Context, /, **params: Any) -> None:
    """Pause all processes within one or more containers."""
    selection.for_each(
        ctx, params, selection.RUNNING, lambda engine, name: engine.containers.pause(name)
    )


@command(
    "unpause",
    usage=_CONTAINERS,
    latest=True,
    params=selection.options("Unpause all paused containers"),
)
@argument("names", nargs=-1)
@click.pass_context
def unpause(ctx: click.Context, /, **params: Any) -> None:
    """Unpause all processes within one or more containers."""
    selection.for_each(
        ctx, params, selection.PAUSED, lambda engine, name: engine.containers.unpause(name)
    )


@command(
    "wait",
    usage=_CONTAINERS,
    latest=True,
    params=[
        flag("--condition", default="not-running", convert=_condition,
             help="What to wait for (not-running, next-exit, removed)"),
        flag("-i --ignore", "bool", help="Print -1 for containers that are not there"),
    ],
)
@argument("names", nargs=-1, required=True)
@click.pass_context
def wait(ctx: click.Context, /, **params: Any) -> None:
    """Block until one or more containers stop, then print their exit codes."""

    def act(engine: Engine, name: str) -> str:
        try:
            waited = engine.containers.wait(name, params["condition"])
        except NotFound:
            if params["ignore"]:
                return "-1"
            raise
        if waited.exit_code is None:
            raise StateError(f"the exit code of {name} is unknown: {waited.error}")
        return str(waited.exit_code)

    at_once.for_each(ctx, params["names"], act)


@command(
    "rm",
    usage=_CONTAINERS,
    latest=True,
    params=[
        *selection.options("Remove all containers", ignore=True, short=""),
        flag("-f --force", "bool", help="Force the removal of a running container (uses SIGKILL)"),
        flag("-l --link", "bool", help="Remove the specified link"),
        flag("-v --volumes", "bool", help="Remove anonymous volumes of the container"),
    ],
)
@argument("names", nargs=-1)
@click.pass_context
def rm(ctx: click.Context, /, **params: Any) -> None:
    """Remove one or more containers."""
    if params["link"]:
        # With Docker this keeps the container; never remove one by mistake.
        raise Unsupported(
            "--link: there are no links",
            resolution="leave out -l to remove it; --latest is the newest container",
        )

    def act(engine: Engine, name: str) -> None:
        engine.containers.remove(name, force=params["force"], volumes=params["volumes"])

    # To have none there is what -f asks for, as with Docker.
    tolerated = (NotFound,) if params["force"] else ()
    selection.for_each(ctx, params, selection.ANY, act, tolerated=tolerated)


@command("rename", usage="CONTAINER NEW_NAME")
@argument("name")
@argument("new_name")
@click.pass_context
def rename(ctx: click.Context, /, name: str, new_name: str) -> None:
    """Rename a container."""
    context.engine(ctx).containers.rename(name, new_name)


@command("exists", usage="CONTAINER")
@argument("name")
@click.pass_context
def exists(ctx: click.Context, /, name: str) -> None:
    """Exit 0 if the container is here, 1 if it is not."""
    try:
        context.engine(ctx).containers.resolve(name)
    except NotFound:
        ctx.exit(1)


@command("cleanup", usage="CONTAINER", hidden=True)
@argument("name")
@click.pass_context
def cleanup(ctx: click.Context, /, name: str) -> None:
    """Tear down an exited container. The monitor runs this when no command waited for the end."""
    context.engine(ctx).containers.cleanup(name)
