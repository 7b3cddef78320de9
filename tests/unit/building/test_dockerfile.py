"""Which images a Dockerfile builds on."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runengine.mgr.building.dockerfile import base_images


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("FROM debian:12\nRUN x", ["debian:12"]),
        ("from --platform=linux/arm64 a AS one\nFROM one\nFROM b as TWO\nFROM two", ["a", "b"]),
        ("FROM scratch", []),
        ("ARG V=12\nFROM debian:$V\n", ["debian:12"]),
        ("ARG V=1 W=2\nFROM a:${V}-${W}\n", ["a:1-2"]),
        ('ARG V="1"\nFROM a:${X:-2}\nFROM a:$V', ["a:2", "a:1"]),
        ("FROM a:$UNKNOWN", []),
        ("FROM a\nARG V=1\nFROM b:$V", ["a"]),  # an argument of a stage holds in that stage
        ("FROM a AS x\nCOPY --from=x / /\nCOPY --chown=1 --from=c:1 / /\nCOPY --from=0 a b",
         ["a", "c:1"]),
        ("FROM a\nRUN --mount=type=bind,from=d:2,target=/d ls", ["a", "d:2"]),
        ("# comment\nFROM \\\n  # another\n  a \\\n\n AS b\n", ["a"]),
        ("# escape=`\nFROM `\n a", ["a"]),
        ("", []),
        ("FROM", []),
        ("FROM a b c d", []),
    ],
)  # fmt: skip
def test_names_in_the_order_in_which_they_come(text, names):
    assert base_images(text, []) == names


def test_a_build_argument_goes_over_the_default():
    text = "ARG V=12\nARG NONE\nFROM debian:$V\nFROM $NONE"
    assert base_images(text, ["V=13", "NONE=x", "FLAG"]) == ["debian:13", "x"]


PIECES = ["FROM ", "ARG ", "a", "$V", "${V:-x}", "\\\n", "\n", " AS ", "COPY --from=", "#"]


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200) | st.lists(st.sampled_from(PIECES)).map("".join))
def test_whatever_it_says_it_is_read_without_an_error(text):
    for name in base_images(text, ["V=1"]):
        assert name
        assert "$" not in name
