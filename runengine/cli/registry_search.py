"""``search``."""

from __future__ import annotations

from typing import Any

import click

from runengine.cli import context, table, units
from runengine.cli.command import Option, argument, command
from runengine.cli.filters import filter_option
from runengine.cli.formats import FORMAT_HELP
from runengine.cli.template_values import Row

DESCRIPTION_WIDTH = 45
TITLES = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "StarCount": "STARS",
    "IsOfficial": "OFFICIAL",
    "IsAutomated": "AUTOMATED",
}
COLUMNS = ("Name", "Description", "StarCount", "IsOfficial")


class _Found(Row):
    """A repository."""

    def __init__(self, entry: dict[str, Any], *, full: bool) -> None:
        text = " ".join(str(entry["description"]).split())
        self._fields = {
            "Name": context.one_line(entry["name"]),
            "Description": context.one_line(
                text if full else units.ellipsis(text, DESCRIPTION_WIDTH)
            ),
            "StarCount": str(entry["star_count"]),
            "IsOfficial": "[OK]" if entry["is_official"] else "",
            "IsAutomated": "[OK]" if entry["is_automated"] else "",
        }

    def field(self, name: str) -> Any:
        """One column."""
        return self._fields[name]

    def document(self) -> dict[str, Any]:
        """All columns."""
        return dict(self._fields)


@command(
    "search",
    usage="[OPTIONS] [REGISTRY/]TERM",
    params=[
        filter_option("-f"),
        Option(["--format", "form"], metavar="string", default="", help=FORMAT_HELP),
        Option(
            ["--limit"], metavar="int", type=int, default=25, help="Max number of search results"
        ),
        Option(["--no-trunc", "full"], is_flag=True, help="Don't truncate output"),
    ],
)
@argument("term")
@click.pass_context
def search(ctx: click.Context, /, **options: Any) -> None:
    """Search a registry for images."""
    result = context.engine(ctx).registries.search(
        options["term"], limit=options["limit"], filters=options["filters"]
    )
    if result.notice:
        context.complain(result.notice, prefix="NOTICE: ")
    rows = [_Found(entry, full=options["full"]) for entry in result.entries]
    context.write(table.render(rows, table.Layout(TITLES, COLUMNS), options["form"]))
