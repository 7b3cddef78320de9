"""Tables, as Go's tabwriter lays them out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.cli import table
from runengine.cli.template_values import Row, TemplateError


class Two(Row):
    def __init__(self, first, second):
        self.cells = {"A": first, "B": second}

    def field(self, name):
        return self.cells[name]

    def document(self):
        return self.cells


LAYOUT = table.Layout({"A": "FIRST", "B": "SECOND"}, ("A", "B"))
ROWS = [Two("a", "b"), Two("a long cell", "")]


def test_columns_are_padded_but_the_last():
    text = table.render(ROWS, LAYOUT, "")
    assert text == "FIRST         SECOND\na             b\na long cell   \n"


def test_narrow_columns_have_ten_characters():
    assert table.align([["a", "b"]]) == "a         b\n"


def test_a_template_table_has_the_titles_of_its_fields():
    text = table.render(ROWS, LAYOUT, r"table {{.B}}\t{{.A | upper}}")
    assert text == "SECOND    FIRST\nb         A\n          A LONG CELL\n"


def test_a_plain_template_prints_a_line_for_each_row():
    assert table.render(ROWS, LAYOUT, r" {{.A}}\t{{.B}} ") == "a\tb\na long cell\t\n"


def test_json_prints_a_document_for_each_row():
    assert table.render(ROWS[:1], LAYOUT, "json") == '{"A":"a","B":"b"}\n'


def test_without_rows_there_are_titles_only():
    assert table.render([], LAYOUT, "table") == "FIRST     SECOND\n"
    assert table.render([], LAYOUT, "json") == ""


def test_a_wrong_field_is_refused():
    with pytest.raises(TemplateError, match="field C"):
        table.render(ROWS, LAYOUT, "{{.C}}")


def test_a_line_without_tabs_ends_a_column():
    assert table.tabulate("aaaaaaaaaaaa\tb\nx\nc\td\n") == "aaaaaaaaaaaa   b\nx\nc         d\n"


_CELLS = st.text(st.characters(exclude_characters="\t\n"), max_size=15)


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(_CELLS, min_size=n, max_size=n))))
def test_both_ways_to_align_agree(lines):
    text = "".join("\t".join(line) + "\n" for line in lines)
    assert (table.align(lines) if lines else "") == table.tabulate(text)
