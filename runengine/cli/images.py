"""``images`` and the commands that bring images in, name them and take them away."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context, table
from runengine.cli.command import Option, argument, command
from runengine.cli.filters import filter_option
from runengine.cli.formats import FORMAT_HELP, quiet_format
from runengine.errors import InvalidParameter, Unsupported

if TYPE_CHECKING:
    from typing import BinaryIO

    from runengine.cli.progress import Progress

STDOUT = 1


def _platform_option(help: str) -> Option:
    return Option(["--platform"], metavar="string", default=None, help=help)


@command(
    "images",
    usage="[OPTIONS] [REPOSITORY[:TAG]]",
    params=[
        Option(
            ["-a", "--all", "everything"],
            is_flag=True,
            help="Show all images (default hides intermediate images)",
        ),
        Option(["--digests"], is_flag=True, help="Show digests"),
        filter_option("-f"),
        Option(["--format", "form"], metavar="string", default="", help=FORMAT_HELP),
        Option(["--no-trunc", "full"], is_flag=True, help="Don't truncate output"),
        Option(["-q", "--quiet"], is_flag=True, help="Only show image IDs"),
    ],
)
@argument("pattern", required=False)
@click.pass_context
def images(ctx: click.Context, /, **options: Any) -> None:
    """List images."""
    from runengine.cli.image_rows import TITLES, columns, rows_of

    form, filters = options["form"], options["filters"]
    if options["pattern"] is not None:
        filters.setdefault("reference", []).append(options["pattern"])
    found = context.engine(ctx).images.list(filters)
    digests = options["digests"] or (not options["quiet"] and ".Digest" in form)
    rows = rows_of(found, digests=digests, full=options["full"], now_s=time.time())
    if options["quiet"]:
        quiet_format(form)
        context.write("".join(f"{row.field('ID')}\n" for row in rows))
        return
    layout = table.Layout(TITLES, columns(digests=options["digests"]))
    context.write(table.render(rows, layout, form))


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
        _say_default_tag(options["name"], progress)
        result = manager.pull(
            options["name"], platform=options["platform"], progress=progress, quiet=quiet
        )
    context.write(f"{result.reference}\n")


def _say_default_tag(name: str, progress: Progress) -> None:
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


@command("tag", usage="SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]")
@argument("source")
@argument("target")
@click.pass_context
def tag(ctx: click.Context, /, source: str, target: str) -> None:
    """Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE."""
    context.engine(ctx).images.tag(source, target)


@command(
    "rmi",
    usage="[OPTIONS] IMAGE [IMAGE...]",
    params=[
        Option(["-f", "--force"], is_flag=True, help="Force removal of the image"),
        Option(["--no-prune"], is_flag=True, help="Do not delete untagged parents"),
    ],
)
@argument("names", nargs=-1, required=True)
@click.pass_context
def rmi(ctx: click.Context, /, names: tuple[str, ...], *, force: bool, no_prune: bool) -> None:
    """Remove one or more images."""
    manager = context.engine(ctx).images

    def act(name: str) -> str:
        done = manager.remove(name, force=force, prune=not no_prune)
        return "\n".join(f"{word}: {what}" for step in done for word, what in step.items())

    context.for_each(names, act)


@command("default", usage="")
@click.pass_context
def default(ctx: click.Context, /) -> None:
    """Make the embedded default image runengine/busybox."""
    context.write(f"{context.engine(ctx).images.ensure_default()}\n")
