"""The commands that bring images in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context, registry_options
from runengine.cli.command import Option, argument, command

if TYPE_CHECKING:
    from runengine.cli.progress import Progress

STDOUT = 1


def _platform_option(help: str) -> Option:
    return Option(["--platform"], metavar="string", default=None, help=help)


@command(
    "pull",
    usage="[OPTIONS] NAME[:TAG|@DIGEST]",
    params=[
        _platform_option("Set platform if server is multi-platform capable"),
        Option(["-q", "--quiet"], is_flag=True, help="Suppress verbose output"),
        Option(
            ["-a", "--all-tags"],
            is_flag=True,
            help="Download all tagged images in the repository",
        ),
        *registry_options.options(),
        Option(["--disable-content-trust"], is_flag=True, default=True, hidden=True),
    ],
)
@argument("name")
@click.pass_context
def pull(ctx: click.Context, /, **options: Any) -> None:
    """Download an image from a registry."""
    from runengine.cli.progress import progress_for
    from runengine.registry import reference

    name, platform = options["name"], options["platform"]
    given = registry_options.apply_for(ctx, options, name)
    manager = context.engine(ctx).images
    with progress_for(STDOUT, quiet=options["quiet"]) as progress:
        if options["all_tags"]:
            manager.pull_all(name, platform=platform, progress=progress, credentials=given)
            shown = reference.parse(name, default_tag=None).name
        else:
            say_default_tag(name, progress)
            pulled = manager.pull(
                name, platform=platform, progress=progress, credentials=given
            )
            shown = pulled.reference
    context.write(f"{shown}\n")


def say_default_tag(name: str, progress: Progress) -> None:
    """Docker says so when it fills in the tag. Raises InvalidParameter."""
    from runengine.registry import reference

    ref = reference.parse(name, default_tag=None)
    if ref.tag is None and ref.digest is None:
        progress.line("Using default tag: latest")


@command("default", usage="")
@click.pass_context
def default(ctx: click.Context, /) -> None:
    """Make the embedded default image runengine/busybox."""
    context.write(f"{context.engine(ctx).images.ensure_default()}\n")
