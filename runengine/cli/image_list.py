"""``images``: the list, and the tree of what is in them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context, table
from runengine.cli.command import ArgumentError, Option, argument, command
from runengine.cli.filters import filter_option
from runengine.cli.formats import (
    FORMAT_HELP,
    heading_option,
    list_format,
    quiet_format,
    sorted_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runengine.cli.image_rows import ImageRow

_COUNTED = (".SharedSize", ".UniqueSize", ".Containers")
"""Fields that cost a look at every layer."""
_ORDERS: dict[str, Callable[[ImageRow], Any]] = {
    "created": lambda row: -row.entry["Created"],
    "id": lambda row: row.entry["Id"],
    "repository": lambda row: (row.repository, row.tag),
    "size": lambda row: row.entry["Size"],
    "tag": lambda row: row.tag,
}


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
        heading_option("-n"),
        Option(["-q", "--quiet"], is_flag=True, help="Only show image IDs"),
        Option(["--sort"], metavar="string", default="", help=f"Sort by {', '.join(_ORDERS)}"),
        Option(
            ["--tree"], is_flag=True, help="Show layers, who shares them, and other platforms"
        ),
    ],
)
@argument("pattern", required=False)
@click.pass_context
def images(ctx: click.Context, /, **options: Any) -> None:
    """List images."""
    filters = options["filters"]
    if options["pattern"] is not None:
        filters.setdefault("reference", []).append(options["pattern"])
    manager = context.engine(ctx).images
    if options["tree"]:
        _refuse_beside_tree(ctx, options)
        from runengine.cli.image_tree import lines

        found = manager.list(filters, usage=True)
        offers = manager.platforms([entry["Id"] for entry in found])
        text = lines(found, manager.tree(), offers, full=options["full"])
        context.write("".join(f"{line}\n" for line in text))
        return
    options["form"] = list_format(options, "imagesFormat")
    usage = any(field in options["form"] for field in _COUNTED)
    _show(manager.list(filters, usage=usage), options)


def _refuse_beside_tree(ctx: click.Context, options: dict[str, Any]) -> None:
    for name, flag in (("quiet", "--quiet"), ("form", "--format"), ("digests", "--digests")):
        if options[name]:
            raise ArgumentError(f"conflicting options: --tree cannot be used with {flag}", ctx)


def _show(found: Sequence[dict[str, Any]], options: dict[str, Any]) -> None:
    from runengine.cli.image_rows import TITLES, columns, rows_of

    form = options["form"]
    digests = options["digests"] or (not options["quiet"] and ".Digest" in form)
    rows = rows_of(found, digests=digests, full=options["full"], now_s=time.time())
    rows = sorted_rows(rows, options["sort"], _ORDERS)
    if options["quiet"]:
        quiet_format(form)
        context.write("".join(f"{row.field('ID')}\n" for row in rows))
        return
    shown = columns(digests=options["digests"])
    layout = table.Layout(TITLES, shown, heading=not options["bare"])
    context.write(table.render(rows, layout, form))
