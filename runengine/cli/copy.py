"""``cp``: files between containers and the host."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context
from runengine.cli.command import argument, command
from runengine.cli.flags import flag
from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from runengine.mgr.container.copying import Copied, Place
    from runengine.mgr.engine import Engine

STREAM = "-"
_SUFFIXES = ("B", "kB", "MB", "GB", "TB", "PB")


@command(
    "cp",
    usage="[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\trunengine cp [OPTIONS] SRC_PATH|-"
    " CONTAINER:DEST_PATH\n\trunengine cp [OPTIONS] CONTAINER:SRC_PATH CONTAINER:DEST_PATH",
    params=[
        flag("-a --archive", "bool", help="Archive mode (copy all uid/gid information)"),
        flag("-L --follow-link", "bool", help="Always follow symbol link in SRC_PATH"),
        flag(
            "-q --quiet",
            "bool",
            help="Suppress progress output during copy; it is without a terminal, too",
        ),
    ],
)
@argument("source")
@argument("target")
@click.pass_context
def cp(ctx: click.Context, /, **params: Any) -> None:
    """Copy files/folders between a container and the local filesystem, or another container."""
    source, target = _places(params["source"], params["target"])
    engine = context.engine(ctx)
    if source.path == STREAM and not source.container:
        _extract(engine, target, own=params["archive"])
        return
    if target.path == STREAM and not target.container:
        _archive(engine, source, follow=params["follow_link"])
        return
    copied = engine.containers.copy(
        source, target, follow=params["follow_link"], keep_owner=params["archive"]
    )
    if copied.sockets:
        context.warn(f"left out {copied.sockets} socket(s), which no copy can be of")
    if not params["quiet"] and sys.stdout.isatty():
        context.write_error(f"Successfully copied {_told(copied)} to {params['target']}\n")


def _places(source: str, target: str) -> tuple[Place, Place]:
    """Both ends. Raises InvalidParameter with Docker's words."""
    if not source:
        raise InvalidParameter("source can not be empty")
    if not target:
        raise InvalidParameter("destination can not be empty")
    ours, theirs = split(source), split(target)
    if not ours.container and not theirs.container:
        raise InvalidParameter("must specify at least one container source")
    return ours, theirs


def split(text: str) -> Place:
    """``CONTAINER:PATH``, or a path on the host, which ``/`` or ``.`` at its begin makes sure."""
    from runengine.mgr.container.copying import Place

    container, colon, path = text.partition(":")
    if text.startswith("/") or not colon or container.startswith("."):
        return Place(text)
    return Place(path, container)


def _extract(engine: Engine, target: Place, *, own: bool) -> None:
    """Standard input, a tar stream, into a directory of a container."""
    if not engine.containers.is_directory(target.container, target.path):
        raise InvalidParameter(
            f'destination "{target.container}:{target.path}" must be a directory'
        )
    engine.containers.extract_to_dir(
        target.container,
        target.path,
        sys.stdin.buffer,
        no_overwrite_dir_non_dir=True,
        copy_uid_gid=own,
    )


def _archive(engine: Engine, source: Place, *, follow: bool) -> None:
    """Files of a container to standard output, as a tar stream."""
    from runengine.cli.output import archive_output

    with (
        archive_output(None) as fd,
        engine.containers.archive_path(source.container, source.path, follow=follow) as archive,
    ):
        archive.write(fd)


def _told(copied: Copied) -> str:
    """``1.54kB``, as Docker counts: three digits and thousands."""
    size = float(copied.bytes)
    for suffix in _SUFFIXES:
        if size < 1000 or suffix == _SUFFIXES[-1]:
            return f"{size:.3g}{suffix}"
        size /= 1000
    raise AssertionError("unreachable")
