"""The commands that bring images in."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context
from runengine.cli.command import Option, argument, command
from runengine.errors import InvalidParameter, Unsupported

if TYPE_CHECKING:
    from typing import BinaryIO

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
        Option(["-a", "--all-tags"], is_flag=True, hidden=True),
        Option(["--disable-content-trust"], is_flag=True, default=True, hidden=True),
    ],
)
@argument("name")
@click.pass_context
def pull(ctx: click.Context, /, **options: Any) -> None:
    """Download an image from a registry."""
    from runengine.cli.progress import progress_for

    if options["all_tags"]:
        raise Unsupported("--all-tags is not supported", resolution="pull each tag by its name")
    quiet = options["quiet"]
    manager = context.engine(ctx).images
    with progress_for(STDOUT, quiet=quiet) as progress:
        say_default_tag(options["name"], progress)
        result = manager.pull(
            options["name"], platform=options["platform"], progress=progress, quiet=quiet
        )
    context.write(f"{result.reference}\n")


def say_default_tag(name: str, progress: Progress) -> None:
    """Docker says so when it fills in the tag. Raises InvalidParameter."""
    from runengine.registry import reference

    ref = reference.parse(name, default_tag=None)
    if ref.tag is None and ref.digest is None:
        progress.line("Using default tag: latest")


@command(
    "load",
    params=[
        Option(
            ["-i", "--input", "path"],
            metavar="string",
            default=None,
            help="Read from tar archive file, instead of STDIN",
        ),
        Option(["-q", "--quiet"], is_flag=True, help="Suppress the load output"),
    ],
)
@click.pass_context
def load(ctx: click.Context, /, **options: Any) -> None:
    """Load an image from a tar archive or STDIN."""
    from runengine.cli.progress import progress_for

    manager = context.engine(ctx).images
    stream = _open(options["path"] or "-", "load")
    with stream, progress_for(STDOUT, quiet=options["quiet"]) as progress:
        names = manager.load(stream, progress=progress)
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
    usage="[OPTIONS] file|- [REPOSITORY[:TAG]]",
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
    ],
)
@argument("source")
@argument("reference", required=False)
@click.pass_context
def import_image(ctx: click.Context, /, **options: Any) -> None:
    """Import the contents from a tarball to create a filesystem image."""
    source = options["source"]
    if source.startswith(("http://", "https://")):
        raise Unsupported(
            f"cannot import from {source}", resolution=f"curl -L {source} | runengine import -"
        )
    manager = context.engine(ctx).images
    with _open(source, "import") as stream:
        image_id = manager.import_rootfs(
            stream,
            options["reference"],
            changes=list(options["changes"]),
            message=options["message"],
        )
    context.write(f"{image_id}\n")


@command("default", usage="")
@click.pass_context
def default(ctx: click.Context, /) -> None:
    """Make the embedded default image runengine/busybox."""
    context.write(f"{context.engine(ctx).images.ensure_default()}\n")
