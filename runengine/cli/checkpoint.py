"""The commands of ``checkpoint``, as Docker has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from runengine.cli import context, table
from runengine.cli.command import Option, argument, command
from runengine.cli.flags import flag
from runengine.cli.formats import FORMAT_HELP, quiet_format
from runengine.cli.template_values import Row

_LAYOUT = table.Layout({"Name": "CHECKPOINT NAME"}, ("Name",))


class _Row(Row):
    """A checkpoint."""

    def __init__(self, name: str) -> None:
        self._name = name

    def field(self, name: str) -> Any:
        """The one column. Raises KeyError for others."""
        return self.document()[name]

    def document(self) -> dict[str, Any]:
        """All columns."""
        return {"Name": self._name}


def _directory() -> Option:
    return flag("--checkpoint-dir", help="Use a custom checkpoint storage directory")


def absolute(directory: str | None) -> str:
    """A directory as the caller names it, for whoever is elsewhere; empty if none is named."""
    return str(Path(directory).absolute()) if directory else ""


def kept_flags() -> list[Option]:
    """What CRIU keeps only if it is asked to."""
    return [
        flag("--tcp-established", "bool", help="Keep established TCP connections"),
        flag("--file-locks", "bool", help="Keep file locks"),
    ]


@command(
    "create",
    usage="[OPTIONS] CONTAINER CHECKPOINT",
    params=[
        _directory(),
        flag("--leave-running", "bool", help="Leave the container running after checkpoint"),
        *kept_flags(),
    ],
)
@argument("container")
@argument("checkpoint")
@click.pass_context
def create(ctx: click.Context, /, container: str, checkpoint: str, **params: Any) -> None:
    """Create a checkpoint from a running container."""
    from runengine.mgr.container.checkpoint import Request

    request = Request(
        checkpoint,
        absolute(params["checkpoint_dir"]),
        leave_running=params["leave_running"],
        tcp_established=params["tcp_established"],
        file_locks=params["file_locks"],
    )
    context.engine(ctx).containers.create_checkpoint(container, request)
    context.write(f"{checkpoint}\n")


@command(
    "ls",
    usage="[OPTIONS] CONTAINER",
    params=[
        _directory(),
        Option(["--format", "form"], metavar="string", default="", help=FORMAT_HELP),
        Option(["-q", "--quiet"], is_flag=True, help="Only display checkpoint names"),
    ],
)
@argument("container")
@click.pass_context
def ls(ctx: click.Context, /, container: str, **params: Any) -> None:
    """List checkpoints for a container."""
    containers = context.engine(ctx).containers
    names = containers.list_checkpoint(container, absolute(params["checkpoint_dir"]))
    if params["quiet"]:
        quiet_format(params["form"])
        context.write("".join(f"{name}\n" for name in names))
        return
    context.write(table.render([_Row(name) for name in names], _LAYOUT, params["form"]))


@command(
    "rm",
    usage="[OPTIONS] CONTAINER CHECKPOINT",
    params=[_directory()],
)
@argument("container")
@argument("checkpoint")
@click.pass_context
def rm(ctx: click.Context, /, container: str, checkpoint: str, **params: Any) -> None:
    """Remove a checkpoint."""
    directory = absolute(params["checkpoint_dir"])
    context.engine(ctx).containers.delete_checkpoint(container, checkpoint, directory)
