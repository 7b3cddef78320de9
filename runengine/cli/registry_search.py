"""``search``."""

from __future__ import annotations

from typing import Any

import click

from runengine.cli import context, registry_options, table, units
from runengine.cli.command import Option, argument, command
from runengine.cli.filters import filter_option
from runengine.cli.formats import FORMAT_HELP
from runengine.cli.template_values import Row
from runengine.errors import InvalidParameter

DESCRIPTION_WIDTH = 45
TITLES = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "StarCount": "STARS",
    "IsOfficial": "OFFICIAL",
    "IsAutomated": "AUTOMATED",
}
COLUMNS = ("Name", "Description", "StarCount", "IsOfficial")
TAGS = table.Layout({"Name": "NAME", "Tag": "TAG"}, ("Name", "Tag"))


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


class _Tag(Row):
    """A tag of a repository."""

    def __init__(self, name: str, tag: str) -> None:
        self._fields = {"Name": name, "Tag": tag}

    def field(self, name: str) -> Any:
        """One column."""
        return self._fields[name]

    def document(self) -> dict[str, Any]:
        """Both columns."""
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
        Option(["--list-tags"], is_flag=True, help="List the tags of the repository TERM"),
        Option(["--no-trunc", "full"], is_flag=True, help="Don't truncate output"),
        *registry_options.options(),
    ],
)
@argument("term")
@click.pass_context
def search(ctx: click.Context, /, **options: Any) -> None:
    """Search a registry for images."""
    term, limit = options["term"], options["limit"]
    if options["list_tags"]:
        _list_tags(ctx, options)
        return
    given = registry_options.apply(ctx, options, term.partition("/")[0])
    result = context.engine(ctx).registries.search(
        term, limit=limit, filters=options["filters"], credentials=given
    )
    if result.notice:
        context.complain(result.notice, prefix="NOTICE: ")
    rows = [_Found(entry, full=options["full"]) for entry in result.entries]
    context.write(table.render(rows, table.Layout(TITLES, COLUMNS), options["form"]))


def _list_tags(ctx: click.Context, options: dict[str, Any]) -> None:
    """All of them: a registry has them in no order that would make the first ones matter."""
    if options["filters"]:
        raise InvalidParameter("--list-tags: tags have nothing to filter by")
    given = registry_options.apply_for(ctx, options, options["term"])
    name, tags = context.engine(ctx).registries.tags(options["term"], credentials=given)
    context.write(table.render([_Tag(name, tag) for tag in tags], TAGS, options["form"]))
