"""``upgrade``: put a container on another image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context
from runengine.cli.command import argument, command
from runengine.cli.flags import arguments, flag
from runengine.cli.run import bring_image
from runengine.cli.run_flags import pull_policy

if TYPE_CHECKING:
    from runengine.mgr.engine import Engine


@command(
    "upgrade",
    usage="[OPTIONS] CONTAINER [COMMAND] [ARG...]",
    params=[
        flag("--entrypoint", help="Overwrite the default ENTRYPOINT of the image"),
        flag("-i --image", help="Image to be on; by default the one of the name that it has"),
        flag("--pull", default="missing",
             help="Pull the image before (always, missing, never, newer)"),
        flag("-q --quiet", "bool", help="Suppress the pull output"),
        flag("-t --timeout --time", "int", help="Seconds to wait before killing the container"),
    ],
    interspersed=False,
)
@argument("container")
@argument("command", nargs=-1)
@click.pass_context
def upgrade(ctx: click.Context, /, container: str, **params: Any) -> None:
    """Put a container on another image, or on a newer one of the same name.

    Its id, name, addresses, ports, mounts, volumes, limits and all that was given for it stay;
    what it wrote elsewhere than in volumes is lost. If it runs it is stopped, and started on the
    new image; if that does not start, it is put back on the old one. Without a COMMAND it runs
    the one that was given for it, or else the image's.
    """
    engine = context.engine(ctx)
    image = params["image"] or _image_of(engine, container)
    bring_image(engine, image, pull=pull_policy(params["pull"]), quiet=params["quiet"])
    entrypoint = params["entrypoint"]
    engine.containers.upgrade(
        container,
        image,
        entrypoint=None if entrypoint is None else [entrypoint],
        cmd=arguments(params["command"]) or None,
        timeout_s=params["timeout"],
    )
    context.write(f"{container}\n")


def _image_of(engine: Engine, container: str) -> str:
    name: str = engine.containers.get(container).config["Image"]
    return name
