"""``container import``: a container that was exported with its settings comes back."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from runengine.cli import context
from runengine.cli.command import argument, command
from runengine.cli.flags import flag
from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterator


@command(
    "import",
    usage="[OPTIONS] FILE|-",
    params=[flag("--name", help="Give the container another name")],
)
@argument("file")
@click.pass_context
def import_container(ctx: click.Context, /, **params: Any) -> None:
    """Make the container that export --with-config wrote, and print its id."""
    with _opened(params["file"]) as stream:
        made = context.engine(ctx).containers.import_with_config(stream, name=params["name"])
    context.write(f"{made.id}\n")


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        if sys.stdin.isatty():
            raise InvalidParameter("nothing to import from a terminal", resolution="name a file")
        yield sys.stdin.buffer
        return
    try:
        file = Path(path).open("rb")  # noqa: SIM115
    except OSError as error:
        raise InvalidParameter(f"cannot open {path}: {error.strerror}") from None
    with file:
        yield file
