"""Variables and labels from flags and files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.cli import env_files
from runengine.errors import InvalidParameter


def test_files_in_order_then_flags(tmp_path):  # E-04
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("# comment\n\n  A=1\nB=x y=z \nC\nMISSING\n")
    two.write_bytes(b"\xef\xbb\xbfA=2\r\n\tD=\n  # also a comment\nG\xc3\xbc=1")
    found = env_files.environment(["A=3", "C"], [str(one), str(two)], {"C": "mine"})
    assert found == ["A=1", "B=x y=z ", "C=mine", "A=2", "D=", "Gü=1", "A=3", "C=mine"]


def test_bare_name_of_a_flag_without_a_value_stays_bare():  # E-03
    assert env_files.environment(["NONE", "E="], [], {}) == ["NONE", "E="]


@pytest.mark.parametrize(
    "content",
    [b"A B=1\n", b"=x\n", b"A\tB\n", b"A=\xff\n", b"A=\0\n"],
)
def test_bad_lines_name_file_and_line(tmp_path, content: bytes):
    path = tmp_path / "env"
    path.write_bytes(b"OK=1\n" + content)
    with pytest.raises(InvalidParameter, match="line 2"):
        env_files.environment([], [str(path)], {})


def test_unreadable_file_is_an_error(tmp_path):  # E-04
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(InvalidParameter, match="cannot read"):
            env_files.environment([], [str(path)], {})


@pytest.mark.parametrize("item", ["", "=x"])
def test_nameless_item(item: str):
    with pytest.raises(InvalidParameter):
        env_files.environment([item], [], {})
    with pytest.raises(InvalidParameter):
        env_files.labels([item], [])


def test_labels(tmp_path):
    path = tmp_path / "labels"
    path.write_text("a=1\nb\n#c\n")
    assert env_files.labels(["a=2", "d"], [str(path)]) == {"a": "2", "b": "", "d": ""}


_NAME = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Z"), exclude_characters="=#\ufeff"), min_size=1
)
_VALUE = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0"))


@given(st.lists(st.tuples(_NAME, _VALUE)))
def test_what_is_written_is_read(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("env") / "file"
    lines = [f"{name}={value}" for name, value in pairs]
    path.write_text("\n".join(lines), encoding="utf-8", newline="")
    expected = [line for line in lines if not any(c.isspace() for c in line.partition("=")[0])]
    if len(expected) == len(lines):
        assert env_files.environment([], [str(path)], {}) == lines
