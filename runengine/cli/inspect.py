"""``inspect``: containers, images, networks and volumes in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context
from runengine.cli.command import ArgumentError, Option, argument, command
from runengine.cli.formats import DOCUMENT_FORMAT_HELP, render_documents
from runengine.errors import EngineError, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TYPES = ("container", "image", "network", "volume")
# What a container's document leaves out where it has none, and templates name all the same.
_ABSENT: dict[str, dict[str, Any]] = {
    "State": {"Health": None},
    "Config": {
        "ArgsEscaped": False,
        "Healthcheck": None,
        "MacAddress": "",
        "NetworkDisabled": False,
    },
    "HostConfig": {
        "Cgroup": "",
        "DeviceRequests": None,
        "Isolation": "",
        "KernelMemory": 0,
        "Links": None,
        "StorageOpt": None,
        "VolumeDriver": "",
    },
}
_SIZES = ("SizeRw", "SizeRootFs")


def _format_option() -> Option:
    return Option(
        ["-f", "--format", "form"], metavar="string", default="", help=DOCUMENT_FORMAT_HELP
    )


def _size_option(help: str) -> Option:
    return Option(["-s", "--size"], is_flag=True, help=help)


@command(
    "inspect",
    usage="[OPTIONS] NAME|ID [NAME|ID...]",
    latest=True,
    params=[
        _format_option(),
        _size_option("Display total file sizes if the type is container"),
        Option(
            ["-t", "--type", "kind"],
            metavar="string",
            default="",
            help="Only inspect objects of the given type (container, image, network, volume)",
        ),
    ],
)
@argument("names", nargs=-1, required=True)
@click.pass_context
def inspect(ctx: click.Context, /, **options: Any) -> None:
    """Return low-level information on containers, images, networks and volumes."""
    kind = options["kind"]
    if kind and kind not in TYPES:
        known = ", ".join(f'"{word}"' for word in TYPES)
        raise ArgumentError(f'unknown type: "{kind}": must be one of {known}', ctx)
    _show(ctx, options, (kind,) if kind else TYPES)


@command(
    "inspect",
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    latest=True,
    params=[_format_option(), _size_option("Display total file sizes")],
)
@argument("names", nargs=-1, required=True)
@click.pass_context
def inspect_container(ctx: click.Context, /, **options: Any) -> None:
    """Display detailed information on one or more containers."""
    _show(ctx, options, ("container",))


@command(
    "inspect",
    usage="[OPTIONS] IMAGE [IMAGE...]",
    params=[
        _format_option(),
        Option(
            ["--platform"],
            metavar="string",
            default=None,
            help="Inspect a specific platform of the multi-platform image",
        ),
    ],
)
@argument("names", nargs=-1, required=True)
@click.pass_context
def inspect_image(ctx: click.Context, /, **options: Any) -> None:
    """Display detailed information on one or more images."""
    _show(ctx, options, ("image",))


@command(
    "inspect",
    usage="[OPTIONS] NETWORK [NETWORK...]",
    params=[
        _format_option(),
        Option(["-v", "--verbose"], is_flag=True, help="Verbose output for diagnostics"),
    ],
)
@argument("names", nargs=-1, required=True)
@click.pass_context
def inspect_network(ctx: click.Context, /, **options: Any) -> None:
    """Display detailed information on one or more networks."""
    _show(ctx, options, ("network",))


@command("inspect", usage="[OPTIONS] VOLUME [VOLUME...]", params=[_format_option()])
@argument("names", nargs=-1, required=True)
@click.pass_context
def inspect_volume(ctx: click.Context, /, **options: Any) -> None:
    """Display detailed information on one or more volumes."""
    _show(ctx, options, ("volume",))


def _show(ctx: click.Context, options: dict[str, Any], kinds: Sequence[str]) -> None:
    """Write what was found, then complain about what was not; exits 1 if anything was not."""
    finders = _finders(ctx, options)
    found: list[dict[str, Any]] = []
    errors: list[EngineError] = []
    for name in options["names"]:
        try:
            found.append(_find(name, [finders[kind] for kind in kinds], kinds))
        except EngineError as exc:
            errors.append(exc)
    form = options["form"]
    if form and form != "json":
        found = [_with_absent(document) for document in found]
    context.write(render_documents(found, form))
    for error in errors:
        context.complain(str(error))
    if errors:
        ctx.exit(1)


def _finders(
    ctx: click.Context, options: dict[str, Any]
) -> dict[str, Callable[[str], dict[str, Any]]]:
    engine = context.engine(ctx)
    size, platform = options.get("size", False), options.get("platform")
    return {
        "container": lambda name: engine.containers.inspect(name, size=size),
        "image": lambda name: engine.images.inspect(name, platform=platform),
        "network": lambda name: engine.networks.inspect(name),
        "volume": lambda name: engine.volumes.inspect(name),
    }


def _find(
    name: str, finders: Sequence[Callable[[str], dict[str, Any]]], kinds: Sequence[str]
) -> dict[str, Any]:
    for finder in finders:
        try:
            return finder(name)
        except NotFound as exc:
            if len(kinds) == 1:
                raise
            last = exc
    raise NotFound(f"No such object: {name}") from last


def _with_absent(document: dict[str, Any]) -> dict[str, Any]:
    """A template may ask whether a container has something, and name its sizes unmeasured."""
    if "HostConfig" not in document:
        return document
    filled = {part: {**absent, **document[part]} for part, absent in _ABSENT.items()}
    return {**dict.fromkeys(_SIZES), **document, **filled}
