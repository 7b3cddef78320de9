"""``history``: how an image came to be."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context, table, units
from runengine.cli.command import Option, argument, command
from runengine.cli.formats import FORMAT_HELP, quiet_format
from runengine.cli.template_values import Row
from runengine.linux import clock

if TYPE_CHECKING:
    from collections.abc import Callable

CREATED_BY_LENGTH = 45
TITLES = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}


class HistoryRow(Row):
    """One line; ``entry`` is Docker's ``/images/{name}/history`` shape."""

    def __init__(self, entry: dict[str, Any], *, full: bool, human: bool, now_s: float) -> None:
        self.entry = entry
        self.full = full
        self.human = human
        self.now_s = now_s

    def field(self, name: str) -> Any:
        """A column's value. Raises KeyError."""
        return _FIELDS[name](self)

    def document(self) -> dict[str, Any]:
        """All columns, sorted by name as Docker has them."""
        return {name: _FIELDS[name](self) for name in sorted(_FIELDS)}

    def _id(self) -> str:
        identifier = str(self.entry["Id"])
        return identifier if self.full else identifier.removeprefix("sha256:")[:12]

    def _created_at(self) -> str:
        return clock.format_ns(self.entry["Created"] * 1_000_000_000)[:19] + "Z"

    def _created_since(self) -> str:
        created = self.entry["Created"]
        return units.ago(created, self.now_s) if created > 0 else "N/A"

    def _created_by(self) -> str:
        text = context.one_line(str(self.entry["CreatedBy"]).replace("\t", " "))
        if self.full or len(text) <= CREATED_BY_LENGTH:
            return text
        return f"{text[: CREATED_BY_LENGTH - 1]}…"

    def _size(self) -> str:
        size = self.entry["Size"]
        return units.human_size(size, 3) if self.human else str(size)


_FIELDS: dict[str, Callable[[HistoryRow], str]] = {
    "ID": HistoryRow._id,
    "CreatedSince": HistoryRow._created_since,
    "CreatedAt": HistoryRow._created_at,
    "CreatedBy": HistoryRow._created_by,
    "Size": HistoryRow._size,
    "Comment": lambda row: context.one_line(row.entry["Comment"]),
}


@command(
    "history",
    usage="[OPTIONS] IMAGE",
    params=[
        Option(["--format", "form"], metavar="string", default="", help=FORMAT_HELP),
        Option(
            ["-H", "--human"],
            is_flag=True,
            default=True,
            help="Print sizes and dates in human readable format (default true)",
        ),
        Option(["--no-trunc", "full"], is_flag=True, help="Don't truncate output"),
        Option(["-q", "--quiet"], is_flag=True, help="Only show image IDs"),
    ],
)
@argument("name")
@click.pass_context
def history(ctx: click.Context, /, **options: Any) -> None:
    """Show the history of an image."""
    found = context.engine(ctx).images.history(options["name"])
    human, now_s = options["human"], time.time()
    rows = [
        HistoryRow(entry, full=options["full"], human=human, now_s=now_s) for entry in found
    ]
    if options["quiet"]:
        quiet_format(options["form"])
        context.write("".join(f"{row.field('ID')}\n" for row in rows))
        return
    created = "CreatedSince" if human else "CreatedAt"
    layout = table.Layout(TITLES, ("ID", created, "CreatedBy", "Size", "Comment"))
    context.write(table.render(rows, layout, options["form"]))
