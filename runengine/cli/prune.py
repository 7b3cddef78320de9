"""``prune``: of containers, of images, and of everything that nobody needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runengine.cli import asking, context, units
from runengine.cli.command import ArgumentError, Option, command
from runengine.cli.filters import filter_option
from runengine.cli.flags import flag
from runengine.cli.image_names import removed_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runengine.mgr.engine import Engine
    from runengine.mgr.image.prune import Pruned

    Filters = dict[str, list[str]]

_DANGLING = "all dangling images"
_UNUSED = "all images without at least one container associated to them"


def _force() -> Option:
    return flag("-f --force", "bool", help="Do not prompt for confirmation")


@command("prune", params=[filter_option(), _force()])
@click.pass_context
def container_prune(ctx: click.Context, /, filters: Filters, *, force: bool) -> None:
    """Remove all stopped containers."""
    warning = "WARNING! This will remove all stopped containers."
    if not force and not asking.agreed(warning):
        return
    done = context.engine(ctx).containers.prune(filters)
    _say("Deleted Containers:", done.removed)
    _say_total(done.freed_bytes)


@command(
    "prune",
    params=[
        flag("-a --all", "bool", help="Remove all unused images, not just dangling ones"),
        filter_option(),
        _force(),
    ],
)
@click.pass_context
def image_prune(ctx: click.Context, /, filters: Filters, *, all: bool, force: bool) -> None:
    """Remove unused images."""
    what = _UNUSED if all else _DANGLING
    if not force and not asking.agreed(f"WARNING! This will remove {what}."):
        return
    _say_total(_prune_images(context.engine(ctx), filters, everything=all))


def _prune_images(engine: Engine, filters: Filters, *, everything: bool) -> int:
    chosen = {**filters, "dangling": ["false"]} if everything else filters
    done = engine.images.prune(chosen)
    _say("Deleted Images:", [_lower(line) for line in removed_lines(done.removed)])
    _warn_unless_swept(done)
    return done.freed_bytes or 0


def _collect_garbage(engine: Engine) -> int:
    """What no image needs, however new: nothing that could be removed survives."""
    swept = engine.images.collect_garbage(everything=True)
    return 0 if swept is None else swept.freed_bytes


def _lower(line: str) -> str:
    """Prune's lines begin in lower case, those of rmi do not."""
    return line[:1].lower() + line[1:]


def _warn_unless_swept(done: Pruned) -> None:
    if done.freed_bytes is None and done.removed:
        context.warn("an image is being brought in: the space is freed when that is done")


@command(
    "prune",
    params=[
        flag("-a --all", "bool", help="Remove all unused images not just dangling ones"),
        filter_option(),
        _force(),
        flag("--volumes", "bool", help="Prune anonymous volumes"),
    ],
)
@click.pass_context
def system_prune(ctx: click.Context, /, **options: Any) -> None:
    """Remove unused data.

    Stopped containers, networks that no container is on, images, the builders' cache, and with
    --volumes anonymous volumes; named volumes stay. With --all and no filter also what a pull that
    broke off has left to go on from.
    """
    filters: Filters = options["filters"]
    if options["volumes"] and "until" in filters:
        raise ArgumentError('the "until" filter is not supported with "--volumes"', ctx)
    if not options["force"] and not asking.agreed("\n".join(_warning(options))):
        return
    engine = context.engine(ctx)
    containers = engine.containers.prune(filters)
    _say("Deleted Containers:", containers.removed)
    _say("Deleted Networks:", engine.networks.prune(filters))
    freed = containers.freed_bytes
    if options["volumes"]:
        volumes = engine.volumes.prune(filters)
        _say("Deleted Volumes:", volumes.names)
        freed += volumes.reclaimed_bytes
    freed += _prune_images(engine, filters, everything=options["all"])
    if not filters:  # nothing in the builders' cache has a label or a time
        freed += engine.images.prune_builds()
        freed += _collect_garbage(engine) if options["all"] else 0
    _say_total(freed)


def _warning(options: dict[str, Any]) -> Iterable[str]:
    yield "WARNING! This will remove:"
    yield "  - all stopped containers"
    yield "  - all networks not used by at least one container"
    if options["volumes"]:
        yield "  - all anonymous volumes not used by at least one container"
    yield f"  - {_UNUSED if options['all'] else _DANGLING}"
    if not options["filters"]:
        yield "  - unused build cache"
    else:
        yield ""
        yield "  Items to be filtered before removal:"
        for key, values in sorted(options["filters"].items()):
            yield from (f"  - {key}={value}" for value in values)
    yield ""


def _say(title: str, lines: Sequence[str]) -> None:
    if lines:
        context.write(f"{title}\n" + "".join(f"{line}\n" for line in lines) + "\n")


def _say_total(freed_bytes: int) -> None:
    context.write(f"Total reclaimed space: {units.human_size(freed_bytes)}\n")
