"""``build``: an image from a Dockerfile, by a builder that is installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runengine.cli import asking, client_config, context, units
from runengine.cli.command import Option, argument, command
from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from runengine.mgr.building.request import BuildRequest


def _values(names: list[str], help: str) -> Option:
    return Option(names, metavar="list", multiple=True, help=help)


def _text(names: list[str], help: str) -> Option:
    return Option(names, metavar="string", default="", help=help)


def _hidden(names: list[str]) -> Option:
    return Option(names, metavar="string", default="", hidden=True)


@command(
    "build",
    usage="[OPTIONS] PATH | URL | -",
    params=[
        _text(["-f", "--file", "dockerfile"], "Name of the Dockerfile (default: PATH/Dockerfile)"),
        _values(["-t", "--tag", "tags"], 'Name and optionally a tag (format: "name:tag")'),
        _values(["--build-arg", "build_args"], "Set build-time variables"),
        _values(["--label", "labels"], "Set metadata for an image"),
        _values(["--secret", "secrets"], "Secret to expose to the build (id=name,src=file)"),
        _values(["--ssh"], "SSH agent or keys to expose to the build (default|ID[=SOCKET|KEY])"),
        _values(["--add-host", "add_hosts"], "Add a custom host-to-IP mapping (host:ip)"),
        _values(["--build-context", "contexts"], "Additional build contexts (NAME=PATH|URL)"),
        _values(["--ulimit", "ulimits"], "Ulimit options"),
        _text(["--shm-size"], "Size of /dev/shm during the build"),
        _text(["--target"], "Set the target build stage to build"),
        _text(["--platform"], "Set target platform for build"),
        _text(["--network"], "Set the networking mode for the RUN instructions during build"),
        _text(["--builder"], "The builder: buildah, docker-buildx or buildctl"),
        _text(["--iidfile"], "Write the image ID to the file"),
        Option(["--no-cache"], is_flag=True, help="Do not use cache when building the image"),
        Option(["--pull"], is_flag=True, help="Always attempt to pull all referenced images"),
        Option(["-q", "--quiet"], is_flag=True, help="Print only the image ID on success"),
        # What is so anyway: the image is loaded, and what the builder says comes as lines.
        Option(["--load"], is_flag=True, hidden=True),
        _hidden(["--progress"]),
        Option(["--rm", "remove"], is_flag=True, default=True, hidden=True),
        Option(["--force-rm", "force"], is_flag=True, hidden=True),
    ],
)
@argument("path")
@click.pass_context
def build(ctx: click.Context, /, **options: Any) -> None:
    """Build an image from a Dockerfile."""
    from runengine.linux import fsatomic
    from runengine.mgr.building.request import BuildRequest

    request = BuildRequest(
        options["path"],
        **{key: options[key] for key in BuildRequest._fields if key in options},
    )
    _check_stdin(request)
    build_args = client_config.beside([_with_value(arg) for arg in request.build_args])
    request = request._replace(build_args=build_args)
    manager = context.engine(ctx).images
    image_id = manager.build(request, sys.stdin.buffer, say=_say)
    if options["iidfile"]:
        fsatomic.replace(str(Path(options["iidfile"]).resolve()), image_id.encode(), mode=0o644)
    if options["quiet"]:
        context.write(f"{image_id}\n")
        return
    short = image_id.removeprefix("sha256:")[:12]
    tagged = "".join(f"Successfully tagged {tag}\n" for tag in _shown(request))
    context.write(f"Successfully built {short}\n{tagged}")


def _say(line: bytes) -> None:
    context.write_error(line.decode(errors="replace"))


def _check_stdin(request: BuildRequest) -> None:
    if "-" in (request.context, request.dockerfile) and sys.stdin.isatty():
        raise InvalidParameter(
            "the build is to read stdin, but stdin is a terminal",
            resolution="redirect a Dockerfile or a tar to it",
        )


def _with_value(argument: str) -> str:
    """``NAME`` alone takes the value of the caller's variable, as in Docker."""
    if "=" in argument or argument not in os.environ:
        return argument
    return f"{argument}={os.environ[argument]}"


def _shown(request: BuildRequest) -> list[str]:
    from runengine.registry import reference

    return [reference.parse(tag).familiar for tag in request.tags]


@command(
    "prune",
    params=[
        Option(["-f", "--force"], is_flag=True, help="Do not prompt for confirmation"),
        Option(["-a", "--all", "everything"], is_flag=True, hidden=True),
    ],
)
@click.pass_context
def prune(ctx: click.Context, /, *, force: bool, everything: bool) -> None:
    """Remove build cache."""
    del everything  # there is nothing else in it
    if not force and not asking.agreed("WARNING! This will remove all build cache."):
        return
    freed = context.engine(ctx).images.prune_builds()
    context.write(f"Total reclaimed space: {units.human_size(freed)}\n")
