"""``manifest``: the documents behind the name of an image."""

from __future__ import annotations

import click

from runengine.cli import context
from runengine.cli.command import argument, command
from runengine.cli.flags import flag


@command(
    "inspect",
    usage="[OPTIONS] MANIFEST",
    params=[
        flag("--insecure", "bool", help="Allow communication with an insecure registry"),
        flag("--local", "bool", help="Show what is stored here, and ask no registry"),
        flag("-v --verbose", "bool",
             help="Output additional info including layers and platform"),
    ],
)
@argument("reference")
@click.pass_context
def inspect(
    ctx: click.Context, /, reference: str, *, insecure: bool, local: bool, verbose: bool
) -> None:
    """Display an image manifest, or manifest list, as its registry has it."""
    import json

    document = context.engine(ctx).images.inspect_manifest(
        reference, verbose=verbose, local=local, insecure=insecure
    )
    context.write(f"{json.dumps(document, ensure_ascii=False, indent=chr(9))}\n")
