"""``artifact push``, ``pull`` and ``ls``: plain files in a registry."""

from __future__ import annotations

from typing import Any

import click

from runengine.cli import context, table, units
from runengine.cli.command import Option, argument, command
from runengine.cli.formats import FORMAT_HELP
from runengine.cli.template_values import Row
from runengine.errors import InvalidParameter

STDOUT = 1
TITLES = {"Name": "NAME", "MediaType": "MEDIA TYPE", "Size": "SIZE", "Digest": "DIGEST"}
_QUIET = Option(["-q", "--quiet"], is_flag=True, help="Suppress verbose output")


@command(
    "push",
    usage="[OPTIONS] NAME[:TAG] FILE[:MEDIATYPE] [FILE[:MEDIATYPE]...]",
    params=[
        Option(
            ["--annotation", "annotations"],
            multiple=True,
            metavar="list",
            help="Add an annotation to the manifest (KEY=VALUE)",
        ),
        Option(
            ["--artifact-type"],
            metavar="string",
            default=None,
            help="Type of the artifact, a media type",
        ),
        _QUIET,
    ],
)
@argument("name")
@argument("files", nargs=-1, required=True)
@click.pass_context
def push(ctx: click.Context, /, **options: Any) -> None:
    """Put plain files into a registry."""
    from runengine.cli.progress import progress_for

    manager = context.engine(ctx).registries
    with progress_for(STDOUT, quiet=options["quiet"]) as progress:
        made = manager.push_artifact(
            options["name"],
            [_file(text) for text in options["files"]],
            artifact_type=options["artifact_type"],
            annotations=dict(_pair(text) for text in options["annotations"]),
            progress=progress,
        )
    context.write(f"{made.reference}@{made.digest}\n")


def _file(text: str) -> Any:
    """``FILE[:MEDIATYPE]``; a file whose name has a colon and a slash after it is one."""
    from pathlib import Path

    from runengine.mgr.registry.artifact import File

    path, colon, media_type = text.rpartition(":")
    if not colon or "/" not in media_type or Path(text).exists():
        return File(text)
    return File(path, media_type)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InvalidParameter(f"invalid annotation {text!r}", resolution="write it as KEY=VALUE")
    return key, value


@command(
    "pull",
    usage="[OPTIONS] NAME[:TAG|@DIGEST]",
    params=[
        Option(
            ["-k", "--keep-old-files", "keep_old"],
            is_flag=True,
            help="Leave files alone that are there already",
        ),
        Option(
            ["-o", "--output", "directory"],
            metavar="string",
            default=".",
            help="Directory for the files",
        ),
        _QUIET,
    ],
)
@argument("name")
@click.pass_context
def pull(ctx: click.Context, /, **options: Any) -> None:
    """Bring the files of an artifact into a directory."""
    from runengine.cli.progress import progress_for

    manager = context.engine(ctx).registries
    with progress_for(STDOUT, quiet=options["quiet"]) as progress:
        found = manager.pull_artifact(
            options["name"],
            options["directory"],
            keep_old=options["keep_old"],
            progress=progress,
        )
    context.write(f"{found.reference}@{found.digest}\n")


class _Listed(Row):
    """A file of an artifact."""

    def __init__(self, file: Any) -> None:
        self._fields = {
            "Name": context.one_line(file.name) or "<none>",
            "MediaType": context.one_line(file.media_type),
            "Size": units.human_size(file.size, 3),
            "Digest": file.digest,
        }

    def field(self, name: str) -> Any:
        """One column."""
        return self._fields[name]

    def document(self) -> dict[str, Any]:
        """All columns."""
        return dict(self._fields)


@command(
    "ls",
    usage="[OPTIONS] NAME[:TAG|@DIGEST]",
    params=[Option(["--format", "form"], metavar="string", default="", help=FORMAT_HELP)],
)
@argument("name")
@click.pass_context
def ls(ctx: click.Context, /, name: str, form: str) -> None:
    """List the files of an artifact in its registry."""
    found = context.engine(ctx).registries.show_artifact(name)
    rows = [_Listed(file) for file in found.files]
    context.write(table.render(rows, table.Layout(TITLES, tuple(TITLES)), form))
