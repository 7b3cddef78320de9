"""``commit`` and ``diff``: what a container has changed, as an image or as a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context
from runengine.cli.command import Option, argument, command
from runengine.errors import InvalidParameter, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.mgr.engine import Engine
    from runengine.rootfs.changes import Change

_WORDS = {"C": "changed", "A": "added", "D": "deleted"}


@command(
    "commit",
    usage="[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    params=[
        Option(["-a", "--author"], metavar="string", default="", help="Author, as A B <a@b.c>"),
        Option(
            ["-c", "--change", "changes"],
            metavar="list",
            multiple=True,
            help="Apply Dockerfile instruction to the created image",
        ),
        Option(["-m", "--message"], metavar="string", default="", help="Commit message"),
        Option(
            ["-p", "--pause"],
            is_flag=True,
            default=True,
            help="Pause container during commit (default true)",
        ),
        Option(["-q", "--quiet"], is_flag=True, hidden=True),
    ],
)
@argument("container")
@argument("reference", required=False)
@click.pass_context
def commit(ctx: click.Context, /, **options: Any) -> None:
    """Create a new image from a container's changes."""
    from runengine.mgr.image.commit import Wishes

    wishes = Wishes(
        options["reference"], options["author"], options["message"], options["changes"]
    )
    containers = context.engine(ctx).containers
    image_id = containers.commit(options["container"], wishes, pause=options["pause"])
    context.write(f"{image_id}\n")


@command(
    "diff",
    usage="[OPTIONS] CONTAINER|IMAGE",
    latest=True,
    params=[
        Option(
            ["--format", "form"],
            metavar="string",
            default="",
            help="'json' for three lists instead of lines",
        ),
    ],
)
@argument("name")
@click.pass_context
def diff(ctx: click.Context, /, name: str, form: str) -> None:
    """Inspect changes to files or directories on a container's filesystem."""
    if form not in ("", "json"):
        raise InvalidParameter(f"unknown format {form!r}", resolution="use json, or none")
    context.write(_shown(_changes(context.engine(ctx), name), form))


def _changes(engine: Engine, name: str) -> Sequence[Change]:
    """Of a container, or else of an image's topmost layer."""
    try:
        return engine.containers.diff(name)
    except NotFound:
        if not engine.images.exists(name):
            raise
        return engine.images.diff(name)


def _shown(changes: Sequence[Change], form: str) -> str:
    if form == "json":
        import json

        lists: dict[str, list[str]] = {word: [] for word in _WORDS.values()}
        for change in changes:
            lists[_WORDS[change.kind]].append(f"/{change.path}")
        return json.dumps({word: paths for word, paths in lists.items() if paths}) + "\n"
    return "".join(f"{change.kind} /{context.one_line(change.path)}\n" for change in changes)
