"""The commands that name images, ask for them and take them away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runengine.cli import context
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
        Option(["-f", "--force"], is_flag=True, help="Force removal of the image"),
        Option(["--no-prune"], is_flag=True, help="Do not delete untagged parents"),
    ],
)
@argument("names", nargs=-1, required=True)
@click.pass_context
def rmi(ctx: click.Context, /, names: tuple[str, ...], *, force: bool, no_prune: bool) -> None:
    """Remove one or more images."""
    manager = context.engine(ctx).images
    errors: list[EngineError] = []
    for name in names:
        try:
            removed = manager.remove(name, force=force, prune=not no_prune)
        except EngineError as error:
            errors.append(error)
            continue
        context.write("".join(f"{line}\n" for line in removed_lines(removed)))
    for failed in errors:
        context.complain(str(failed))
    # As with `rm -f`: what is not there need not be removed.
    if any(not (force and isinstance(failed, NotFound)) for failed in errors):
        ctx.exit(1)


def removed_lines(removed: Sequence[dict[str, str]]) -> list[str]:
    """Docker's ``Untagged`` and ``Deleted`` entries as lines."""
    return [f"{word}: {what}" for entry in removed for word, what in entry.items()]
