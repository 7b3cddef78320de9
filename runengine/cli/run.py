"""``run`` and ``create``."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context, run_flags, run_table, terminal
from runengine.cli.command import command
from runengine.errors import AlreadyExists, EngineError, NotFound, Unavailable

if TYPE_CHECKING:
    from typing import Self

    from runengine.mgr.container.create import Created
    from runengine.mgr.engine import Engine

_USAGE = "[OPTIONS] IMAGE [COMMAND] [ARG...]"


@command(
    "run", params=run_table.run_params(), usage=_USAGE, runs=True, interspersed=False
)
@click.pass_context
def run(ctx: click.Context, /, **params: Any) -> None:
    """Create and run a new container from an image."""
    request = run_flags.build(params)
    if not request.detach:
        terminal.check_tty(
            attach_stdin=request.config["AttachStdin"], tty=request.config["Tty"]
        )
    engine = context.engine(ctx)
    created = _create(engine, request, starts=True)
    try:
        ctx.exit(_start(engine, created, request))
    except (EngineError, OSError, KeyboardInterrupt):
        _after_failed_start(engine, created, request)
        raise


def _start(engine: Engine, created: Created, request: run_flags.Request) -> int:
    config = request.config
    size = terminal.size() if config["Tty"] else None
    attached = (config["AttachStdin"], config["AttachStdout"], config["AttachStderr"])
    if request.detach or not any(attached):
        engine.containers.start(created.id, console_size=size)
        context.write(f"{created.id}\n")
        return 0
    from runengine.cli.foreground import start_attached
    from runengine.monitor.protocol import AttachOptions

    if not any(attached[1:]):
        context.write(f"{created.id}\n")  # the only way to what it says
    return start_attached(
        engine,
        created.id,
        AttachOptions(*attached),
        tty=config["Tty"],
        detach_keys=request.detach_keys,
        sig_proxy=request.sig_proxy,
        console_size=size,
    )


def _after_failed_start(engine: Engine, created: Created, request: run_flags.Request) -> None:
    """What never ran goes with ``--rm``; what stays must be findable, so Docker prints its id."""
    try:
        status = engine.containers.inspect(created.id)["State"]["Status"]
    except EngineError:
        return
    if status != "created":
        return
    if request.host["AutoRemove"]:
        engine.containers.remove(created.id, force=True, made=True)
    elif request.detach:
        context.write(f"{created.id}\n")


@command(
    "create", params=run_table.create_params(), usage=_USAGE, runs=True, interspersed=False
)
@click.pass_context
def create(ctx: click.Context, /, **params: Any) -> None:
    """Create a new container."""
    request = run_flags.build(params)
    created = _create(context.engine(ctx), request, starts=False)
    context.write(f"{created.id}\n")


def _create(engine: Engine, request: run_flags.Request, *, starts: bool) -> Created:
    with IdFile(request.host["ContainerIDFile"]) as id_file:
        for text in request.warnings:
            context.warn(text)
        ensure_image(engine, request)
        if starts:
            engine.containers.prepare_start()
        if request.replace and request.name:
            with suppress(NotFound):
                engine.containers.remove(request.name, force=True)
        created = engine.containers.create(
            request.name, request.config, request.host, endpoints=request.endpoints
        )
        id_file.write(created.id)
    for text in created.warnings:
        context.warn(text)
    return created


def ensure_image(engine: Engine, request: run_flags.Request) -> None:
    """Pull the image if it is missing, or as ``--pull`` says. Raises EngineError."""
    bring_image(
        engine,
        request.config["Image"],
        pull=request.pull,
        platform=request.platform,
        quiet=request.quiet,
    )


def bring_image(
    engine: Engine, name: str, *, pull: str, platform: str | None = None, quiet: bool = False
) -> None:
    """The same for one that is named."""
    here = pull != "always" and _is_here(engine, name, platform)
    if here and pull != "newer":
        return
    if pull == "never":
        raise NotFound(
            f"Unable to find image '{name}' locally",
            resolution="--pull never forbids to pull it",
        )
    from runengine.registry import reference

    pulled = str(reference.parse(name).familiar)
    if not here and pull != "always" and not quiet:
        context.complain(f"Unable to find image '{pulled}' locally", prefix="")
    try:
        _pull(engine, name, platform, quiet=quiet)
    except EngineError as error:
        if not here:
            raise
        context.warn(f"using the image {pulled} that is here, as its registry fails: {error}")


def _pull(engine: Engine, name: str, platform: str | None, *, quiet: bool) -> None:
    """Pull; what is here already, or what another command is bringing, is not brought again."""
    from runengine.cli.progress import progress_for

    with progress_for(terminal.STDERR, quiet=quiet) as progress:
        engine.images.pull(name, platform=platform, progress=progress)


def _is_here(engine: Engine, name: str, platform: str | None) -> bool:
    try:
        image = engine.images.lookup(name)
    except NotFound:
        return False
    return platform is None or _is_for(image.config, platform)


def _is_for(image_config: str, platform: str) -> bool:
    import json

    from runengine.registry.platform import Platform

    wanted = Platform.parse(platform)
    config = json.loads(image_config)
    has = (config.get("os", "linux"), config.get("architecture", ""))
    return has == (wanted.os, wanted.architecture)


class IdFile:
    """``--cidfile``: claimed before the container is made, so that it cannot fail afterwards."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._written = False

    def __enter__(self) -> Self:
        if self._path:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            try:
                os.close(os.open(self._path, flags, 0o644))
            except FileExistsError:
                raise AlreadyExists(
                    f"container ID file found, make sure the other container isn't running or"
                    f" delete {self._path}"
                ) from None
            except OSError as error:
                raise Unavailable(
                    f"failed to create the container ID file {self._path}: {error.strerror}"
                ) from None
        return self

    def write(self, container_id: str) -> None:
        """Write the id, without a newline, as Docker does."""
        if self._path:
            with open(self._path, "w", encoding="ascii") as file:  # noqa: PTH123
                file.write(container_id)
            self._written = True

    def __exit__(self, *_: object) -> None:
        if self._path and not self._written:
            os.unlink(self._path)  # noqa: PTH108
