"""``image verify``: whether what is stored still is what it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context, terminal
from runengine.cli.command import ArgumentError, Option, argument, command
from runengine.cli.flags import flag
from runengine.cli.formats import DOCUMENT_FORMAT_HELP
from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.image.verify import Fault, Report


@command(
    "verify",
    usage="[OPTIONS] [IMAGE...]",
    params=[
        flag("-a --all", "bool", help="Verify every image, and blobs that no image has"),
        flag("--repair", "bool", help="Fetch damaged blobs and unpack damaged layers again"),
        flag("-q --quiet", "bool", help="Only show what is wrong"),
        Option(["--format", "form"], metavar="string", default="", help=DOCUMENT_FORMAT_HELP),
    ],
)
@argument("names", nargs=-1)
@click.pass_context
def verify(ctx: click.Context, /, names: tuple[str, ...], **options: Any) -> None:
    """Verify that stored images still are what they were.

    Blobs are hashed, and each layer is compared with what its blob unpacks to: names, types,
    modes, owners, times, attributes, links and content. That reads everything, with the lowest
    priority on the disk, and needs room for the largest layer once more.

    With --repair a damaged blob is fetched from its registry again, and a damaged layer is
    replaced by a fresh one, unless a container has it mounted.

    Exits 0 if nothing is wrong or all of it was repaired, 1 otherwise.
    """
    from runengine.cli.progress import progress_for

    if bool(names) == options["all"]:
        raise ArgumentError("name images, or all of them with --all", ctx)
    if options["form"] and options["form"] != "json":
        raise InvalidParameter("verify has no template, only --format json")
    _be_nice()
    with progress_for(terminal.STDERR, quiet=options["quiet"]) as progress:
        report = context.engine(ctx).images.verify(
            names, repair=options["repair"], progress=progress
        )
    _show(report, options["form"])
    if not report.is_clean:
        ctx.exit(1)


def _be_nice() -> None:
    """Let everybody else have the disk first, where the kernel can tell (ioprio_set(2))."""
    from contextlib import suppress

    import psutil

    with suppress(OSError, psutil.Error):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)


def _show(report: Report, form: str) -> None:
    if form == "json":
        from runengine.cli.template_values import to_json

        context.write(f"{to_json(document(report))}\n")
        return
    for fault in report.faults:
        context.write("".join(f"{line}\n" for line in _lines(fault)))
    context.write(f"{_summary(report)}\n")


def document(report: Report) -> dict[str, Any]:
    """The report as JSON has it."""
    return {
        "Clean": report.is_clean,
        "Images": report.images,
        "Blobs": report.blobs,
        "Layers": report.layers,
        "Faults": [
            {
                "Kind": fault.kind,
                "Name": fault.name,
                "Image": fault.image,
                "What": fault.what,
                "Details": fault.details,
                "Repaired": fault.repaired,
                "Remedy": fault.remedy,
            }
            for fault in report.faults
        ],
    }


def _lines(fault: Fault) -> Iterator[str]:
    word = "repaired" if fault.repaired else "FAULT"
    yield f"{word}: {fault.kind} {fault.name} of {fault.image}: {context.one_line(fault.what)}"
    # Names of files come from images, and may have anything in them.
    yield from (f"    {context.one_line(line)}" for line in fault.details)
    yield f"    -> {context.one_line(fault.remedy)}"


def _summary(report: Report) -> str:
    looked = (
        f"{_count(report.images, 'image')}, {_count(report.blobs, 'blob')} and "
        f"{_count(report.layers, 'layer')} verified"
    )
    if not report.faults:
        return f"{looked}: nothing is wrong"
    repaired = sum(fault.repaired for fault in report.faults)
    return f"{looked}: {_count(len(report.faults), 'fault')}, {repaired} repaired"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
