"""Listings: the default table, ``--format`` with templates, JSON lines. One string in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.cli.template_values import Bound, Row

if TYPE_CHECKING:
    from collections.abc import Sequence

PADDING = 3
LEAST_WIDTH = 10


class Layout(NamedTuple):
    """A listing: titles of all columns a template may name, and those of the default table."""

    titles: dict[str, str]
    columns: Sequence[str]
    heading: bool = True
    """Whether a table has a line of titles."""


def render(rows: Sequence[Row], layout: Layout, form: str) -> str:
    """All rows as ``form`` says: empty or ``table``, ``json``, a template, ``table TEMPLATE``.

    Raises TemplateError.
    """
    if form in ("", "table"):
        return _default_table(rows, layout)
    if form == "json":
        from runengine.cli.template_values import to_json

        return "".join(f"{to_json(row)}\n" for row in rows)
    is_table = form.startswith("table")
    text = form.removeprefix("table").strip(" ")
    text = text.replace("\\t", "\t").replace("\\n", "\n")
    return _template_table(rows, layout, text) if is_table else _templated(rows, text)


def _default_table(rows: Sequence[Row], layout: Layout) -> str:
    lines = [[layout.titles[name] for name in layout.columns]] if layout.heading else []
    lines += [[str(row.field(name)) for name in layout.columns] for row in rows]
    if any("\t" in cell or "\n" in cell for line in lines for cell in line):
        return tabulate("".join("\t".join(line) + "\n" for line in lines))
    return align(lines) if lines else ""


def _templated(rows: Sequence[Row], text: str) -> str:
    from runengine.cli.template import Template

    template = Template(text)
    return "".join(f"{template.render(row)}\n" for row in rows)


def _template_table(rows: Sequence[Row], layout: Layout, text: str) -> str:
    from runengine.cli.template import Template
    from runengine.cli.template_functions import HEADER_FUNCTIONS

    body = _templated(rows, text)
    if not layout.heading:
        return tabulate(body)
    header = Template(text, HEADER_FUNCTIONS).render(_Header(layout.titles))
    return tabulate(f"{header}\n{body}")


class _Header(Row):
    """Stands for a row while the header is rendered: fields are their titles."""

    def __init__(self, titles: dict[str, str]) -> None:
        self.titles = titles

    def field(self, name: str) -> Any:
        """A column's title; a label is titled by the last part of its key."""
        return Bound("Label", label_title) if name == "Label" else self.titles[name]

    def document(self) -> dict[str, Any]:
        """All titles."""
        return dict(self.titles)


def label_title(key: Any) -> str:
    """``com.example.my-label`` → ``my label``."""
    return str(key).rpartition(".")[2].replace("-", " ").replace("_", " ")


def align(
    lines: Sequence[Sequence[str]], *, padding: int = PADDING, least: int = LEAST_WIDTH
) -> str:
    """Lines of equally many cells as columns; the last cell is not padded."""
    columns = list(zip(*lines, strict=True))
    padded: list[list[str]] = []
    for cells in columns[:-1]:
        width = max(max(map(len, cells)) + padding, least)
        padded.append([cell.ljust(width) for cell in cells])
    padded.append(list(columns[-1]))
    return "".join("".join(line) + "\n" for line in zip(*padded, strict=True))


def tabulate(text: str, *, padding: int = PADDING, least: int = LEAST_WIDTH) -> str:
    """Go's tabwriter: a column is a block of consecutive lines that have a cell ended by a tab."""
    lines = [line.split("\t") for line in text.split("\n")]
    if lines and len(lines[-1]) == 1 and lines[-1] == [""]:
        lines.pop()
    widths: list[list[int]] = [[0] * (len(line) - 1) for line in lines]
    for column in range(max((len(line) for line in lines), default=1) - 1):
        _column(lines, widths, column, padding, least)
    out = []
    for line, sizes in zip(lines, widths, strict=True):
        cells = [cell.ljust(size) for cell, size in zip(line, sizes, strict=False)]
        out.append("".join(cells) + line[-1] + "\n")
    return "".join(out)


def _column(
    lines: list[list[str]], widths: list[list[int]], column: int, padding: int, least: int
) -> None:
    """Set the widths of one column, block by block."""
    start = 0
    while start < len(lines):
        end = start
        while end < len(lines) and len(lines[end]) - 1 > column:
            end += 1
        if end > start:
            width = max(max(len(line[column]) for line in lines[start:end]) + padding, least)
            for sizes in widths[start:end]:
                sizes[column] = width
        start = end + 1
