"""The commands that name images, ask for them and take them away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context, selection
from runengine.cli.command import Option, argument, command
from runengine.errors import EngineError, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence


@command("tag", usage="SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]")
@argument("source")
@argument("target")
@click.pass_context
def tag(ctx: click.Context, /, source: str, target: str) -> None:
    """Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE."""
    context.engine(ctx).images.tag(source, target)


@command("untag", usage="IMAGE [NAME...]")
@argument("image")
@argument("names", nargs=-1)
@click.pass_context
def untag(ctx: click.Context, /, image: str, names: tuple[str, ...]) -> None:
    """Take names away from an image, which stays.

    Without a NAME all of them. The image can still be found by its id; `image prune` removes it.
    """
    context.engine(ctx).images.untag(image, names)


@command("exists", usage="IMAGE")
@argument("image")
@click.pass_context
def exists(ctx: click.Context, /, image: str) -> None:
    """Exit 0 if the image is here, 1 if it is not."""
    if not context.engine(ctx).images.exists(image):
        ctx.exit(1)


@command(
    "rmi",
    usage="[OPTIONS] IMAGE [IMAGE...]",
    params=[
        Option(["-a", "--all", "everything"], is_flag=True, help="Remove all images"),
        Option(["-f", "--force"], is_flag=True, help="Force removal of the image"),
        Option(
            ["-i", "--ignore"], is_flag=True, help="Do not mind images that are not there"
        ),
        Option(["--no-prune"], is_flag=True, help="Do not delete untagged parents"),
    ],
)
@argument("names", nargs=-1)
@click.pass_context
def rmi(
    ctx: click.Context, /, names: Sequence[str], *, everything: bool, **options: bool
) -> None:
    """Remove one or more images."""
    selection.require_one_way(ctx, names, everything=everything)
    manager = context.engine(ctx).images
    force = options["force"]
    if everything:
        names = _every_name(manager.list())
    errors: list[EngineError] = []
    for name in names:
        try:
            removed = manager.remove(name, force=force, prune=not options["no_prune"])
        except EngineError as error:
            errors.append(error)
            continue
        context.write("".join(f"{line}\n" for line in removed_lines(removed)))
    for failed in errors:
        if not (options["ignore"] and isinstance(failed, NotFound)):
            context.complain(str(failed))
    # As with `rm -f`: what is not there need not be removed.
    tolerant = force or options["ignore"]
    if any(not (tolerant and isinstance(failed, NotFound)) for failed in errors):
        ctx.exit(1)


def _every_name(entries: Sequence[dict[str, Any]]) -> list[str]:
    """The tags of all images, as an id stands for one repository only; else their ids."""
    return [name for entry in entries for name in entry["RepoTags"] or [entry["Id"]]]


def removed_lines(removed: Sequence[dict[str, str]]) -> list[str]:
    """Docker's ``Untagged`` and ``Deleted`` entries as lines."""
    return [f"{word}: {what}" for entry in removed for word, what in entry.items()]
