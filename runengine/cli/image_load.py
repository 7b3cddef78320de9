"""``load`` and ``import``: images and root filesystems from archives."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context
from runengine.cli.command import Option, argument, command
from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from typing import BinaryIO

    from runengine.mgr.image.remote import RemoteFile

STDOUT = 1


def _platform_option(help: str) -> Option:
    return Option(["--platform"], metavar="string", default=None, help=help)


@command(
    "load",
    params=[
        Option(
            ["-i", "--input", "path"],
            metavar="string",
            default=None,
            help="Read from tar archive file or OCI layout directory, instead of STDIN",
        ),
        _platform_option("Load only this platform of what the archive has"),
        Option(["-q", "--quiet"], is_flag=True, help="Suppress the load output"),
    ],
)
@click.pass_context
def load(ctx: click.Context, /, **options: Any) -> None:
    """Load an image from a tar archive or STDIN."""
    from runengine.cli.progress import progress_for

    manager = context.engine(ctx).images
    path = options["path"] or "-"
    wishes = {"platform": options["platform"]}
    with progress_for(STDOUT, quiet=options["quiet"]) as progress:
        if path != "-" and Path(path).is_dir():
            names = manager.load(path, progress=progress, **wishes)
        else:
            with _open(path, "load") as stream:
                names = manager.load(stream, progress=progress, **wishes)
    context.write("".join(f"{_loaded(name)}\n" for name in names))


def _loaded(name: str) -> str:
    return f"Loaded image{' ID' if name.startswith('sha256:') else ''}: {name}"


def _open(path: str, action: str) -> BinaryIO:
    """The archive to read. Raises InvalidParameter when it cannot be read at all."""
    if path != "-":
        try:
            return open(path, "rb")  # noqa: PTH123
        except OSError as exc:
            raise InvalidParameter(f"cannot read {path}: {exc.strerror}") from exc
    if sys.stdin.isatty():
        raise InvalidParameter(
            f"requested {action} from stdin, but stdin is a terminal",
            resolution="redirect an archive to it, or name a file",
        )
    return sys.stdin.buffer


@command(
    "import",
    usage="[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    params=[
        Option(
            ["-c", "--change", "changes"],
            multiple=True,
            help="Apply Dockerfile instruction to the created image",
        ),
        Option(
            ["-m", "--message"],
            metavar="string",
            default="",
            help="Set commit message for imported image",
        ),
        _platform_option("Set platform of the image (default: this machine's)"),
        Option(["-q", "--quiet"], is_flag=True, hidden=True),
    ],
)
@argument("source")
@argument("reference", required=False)
@click.pass_context
def import_image(ctx: click.Context, /, **options: Any) -> None:
    """Import the contents from a tarball to create a filesystem image."""
    manager = context.engine(ctx).images
    with _source(options["source"]) as stream:
        image_id = manager.import_rootfs(
            stream,
            options["reference"],
            changes=list(options["changes"]),
            message=options["message"],
            platform=options["platform"],
        )
    context.write(f"{image_id}\n")


def _source(name: str) -> BinaryIO | RemoteFile:
    if name.startswith(("http://", "https://")):
        from runengine.mgr.image.remote import RemoteFile

        return RemoteFile(name)
    return _open(name, "import")
