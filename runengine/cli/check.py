"""``system check``: what is recorded and what is there, compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runengine.cli import context
from runengine.cli.command import Option, command
from runengine.cli.flags import flag
from runengine.cli.formats import DOCUMENT_FORMAT_HELP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.check.run import Outcome, Report

_MARKS = {"found": "DIFFERENCE", "repaired": "repaired", "failed": "NOT REPAIRED"}


@command(
    "check",
    params=[
        Option(
            ["-f", "--format", "form"], metavar="string", default="", help=DOCUMENT_FORMAT_HELP
        ),
        flag("--repair", "bool", help="Put right what can be put right"),
    ],
)
@click.pass_context
def check(ctx: click.Context, /, form: str, *, repair: bool) -> None:
    """Compare records, files, mounts, layers, networks and processes with each other.

    Tells what differs, what that means and what to do. With --repair the engine does it where it
    can: it clears away what violent deaths have left, makes anew what others have removed, and
    never deletes what may be somebody's data. Running containers are not touched.

    `image verify` also reads the content of every layer and blob.

    Exits 0 if nothing differs or all was repaired, 1 otherwise.
    """
    report = context.engine(ctx).system.check(repair=repair)
    if form:
        from runengine.cli.system import formatted
        from runengine.mgr.check import run

        context.write(formatted(run.document(report), form))
    else:
        context.write("".join(f"{line}\n" for line in _lines(report)))
    if not report.is_clean:
        ctx.exit(1)


def _lines(report: Report) -> Iterator[str]:
    section = ""
    for one in report.outcomes:
        if one.section != section:
            section = one.section
            yield section
        yield from _outcome(one)
    yield _summary(report)


def _outcome(one: Outcome) -> Iterator[str]:
    said = context.one_line(f"{one.kind} {one.name}: {one.what}")
    yield f"  {_MARKS[one.state]}  {said}"
    if one.error:
        yield f"    -> {context.one_line(one.error)}"
    elif one.state == "found":
        yield f"    -> {context.one_line(one.remedy)}"


def _summary(report: Report) -> str:
    count = len(report.outcomes)
    if not count:
        return "Everything is as it should be"
    repaired = sum(one.state == "repaired" for one in report.outcomes)
    left = count - repaired
    text = f"{count} difference{'s' if count > 1 else ''}"
    if repaired:
        text += f", {repaired} repaired"
    return f"{text}, {left} left" if repaired and left else text
