"""``push``: an image, or all tags of a repository, to its registry."""

from __future__ import annotations

from typing import Any

import click

from runengine.cli import context, registry_options
from runengine.cli.command import Option, argument, command

STDOUT = 1


@command(
    "push",
    usage="[OPTIONS] NAME[:TAG]",
    params=[
        Option(
            ["-a", "--all-tags"],
            is_flag=True,
            help="Push all tags of an image to the registry",
        ),
        Option(
            ["--compression-format", "compression"],
            metavar="string",
            default=None,
            help="Compress layers that are not compressed yet by gzip (default) or zstd",
        ),
        Option(
            ["--compression-level", "level"],
            metavar="int",
            type=int,
            default=None,
            help="Compression level: 1 to 9 for gzip, 1 to 22 for zstd",
        ),
        Option(["--disable-content-trust"], is_flag=True, default=True, hidden=True),
        *registry_options.options(),
        Option(["-q", "--quiet"], is_flag=True, help="Suppress verbose output"),
    ],
)
@argument("name")
@click.pass_context
def push(ctx: click.Context, /, **options: Any) -> None:
    """Upload an image to a registry."""
    from runengine.cli.images import say_default_tag
    from runengine.cli.progress import progress_for

    given = registry_options.apply_for(ctx, options, options["name"])
    manager = context.engine(ctx).images
    with progress_for(STDOUT, quiet=options["quiet"]) as progress:
        if not options["all_tags"]:
            say_default_tag(options["name"], progress)
        results = manager.push(
            options["name"],
            all_tags=options["all_tags"],
            compression_format=options["compression"],
            compression_level=options["level"],
            progress=progress,
            credentials=given,
        )
    if options["quiet"]:
        context.write("".join(f"{result.reference}\n" for result in results))
