"""``doctor``: what this host can do."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from runengine.cli import context
from runengine.cli.command import Option, command
from runengine.cli.formats import DOCUMENT_FORMAT_HELP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runengine.mgr.doctor.host import Finding, Section

_MARKS = {"ok": "OK", "note": "note", "problem": "PROBLEM"}
_NAME_WIDTH, _WIDTH = 17, 99
_LEFT = 2 + 8 + _NAME_WIDTH + 1


@command(
    "doctor",
    needs_root=False,
    params=[
        Option(
            ["-f", "--format", "form"], metavar="string", default="", help=DOCUMENT_FORMAT_HELP
        ),
        Option(["-q", "--quiet"], is_flag=True, help="Only show what is not OK"),
    ],
)
@click.pass_context
def doctor(ctx: click.Context, /, form: str, quiet: bool) -> None:
    """Show what this host can do, what is missing and what to do.

    Looks at the kernel, control groups, security modules, networks, programs, storage, limits
    and the service, and changes nothing. A note is about something optional, or something that
    cannot be seen from here; a problem keeps containers from running as they should. Below each
    is the remedy.

    Exits 0 if nothing is missing that is needed, 1 otherwise.
    """
    from runengine.mgr.doctor import examine

    sections = examine.examine(context.app_of(ctx).paths())
    if form:
        from runengine.cli.system import formatted

        context.write(formatted(examine.document(sections), form))
    else:
        context.write("".join(f"{line}\n" for line in _lines(sections, quiet=quiet)))
        context.write(f"{_summary(examine.count(sections))}\n")
    if not examine.is_healthy(sections):
        ctx.exit(1)


def _lines(sections: Sequence[Section], *, quiet: bool) -> Iterator[str]:
    for section in sections:
        shown = [f for f in section.findings if not quiet or f.status != "ok"]
        if shown:
            yield section.title
            for finding in shown:
                yield from _finding(finding)
            yield ""


def _finding(finding: Finding) -> Iterator[str]:
    head = f"  {_MARKS[finding.status]:<7} {finding.name:<{_NAME_WIDTH}} "
    yield from _wrapped(finding.seen, head.ljust(_LEFT))
    if finding.remedy:
        yield from _wrapped(finding.remedy, f"{'':{_LEFT}}-> ")


def _wrapped(text: str, head: str) -> list[str]:
    # Some of it is what programs and files of the host say.
    return textwrap.wrap(
        context.one_line(text),
        _WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [head.rstrip()]


def _summary(counts: dict[str, int]) -> str:
    notes = f"{counts['note']} {'note' if counts['note'] == 1 else 'notes'}"
    if counts["problem"]:
        count = counts["problem"]
        return f"{count} {'problem' if count == 1 else 'problems'}, {notes}"
    return f"Nothing is missing that is needed; {notes}"
