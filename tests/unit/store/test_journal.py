"""Lines of the journal: what is a message, and what is passed over."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.monitor import wire
from runengine.monitor.journal import message
from runengine.store.journal import MAX_TIME_NS, parse_block, parse_line

TEXT = st.text(max_size=30)
MESSAGES = st.builds(
    message,
    st.sampled_from(["container", "image", "volume"]),
    TEXT,
    TEXT,
    st.dictionaries(TEXT, TEXT, max_size=4),
)
GOOD = {
    "Type": "container",
    "Action": "start",
    "Actor": {"ID": "a" * 64, "Attributes": {"name": "box"}},
    "time": 1,
    "timeNano": 1_000_000_000,
}


@given(st.lists(MESSAGES, max_size=5))
def test_what_is_written_is_read(messages):
    block = b"".join(wire.dumps(one) + b"\n" for one in messages)
    assert block.count(b"\n") == len(messages)  # whatever the labels are
    assert list(parse_block(block)) == messages


@given(st.lists(MESSAGES, min_size=1, max_size=4), st.binary(max_size=60), st.data())
def test_garbage_between_lines_costs_no_line(messages, garbage, data):
    lines = [wire.dumps(one) for one in messages]
    at = data.draw(st.integers(0, len(lines)))
    found = list(parse_block(b"\n".join([*lines[:at], garbage, *lines[at:], b""])))
    assert [one for one in found if one in messages] == messages


@given(st.binary())
def test_nothing_in_the_file_raises(data):
    for one in parse_block(data):
        assert one["timeNano"] < MAX_TIME_NS


@given(MESSAGES, st.data())
def test_a_line_that_was_cut_short_is_passed_over(one, data):
    line = wire.dumps(one)
    cut = data.draw(st.integers(0, len(line) - 1))
    assert parse_line(line[:cut]) is None


@pytest.mark.parametrize(
    "change",
    [
        {"Type": 1},
        {"Action": None},
        {"Actor": "x"},
        {"Actor": {"ID": "x"}},
        {"Actor": {"ID": "x", "Attributes": {"a": 1}}},
        {"Actor": {"ID": 7, "Attributes": {}}},
        {"time": True},
        {"timeNano": "1"},
        {"timeNano": -1},
        {"timeNano": MAX_TIME_NS},
        {"timeNano": 1.5},
    ],
)
def test_a_document_of_another_shape_is_no_message(change):
    assert parse_line(json.dumps(GOOD).encode()) == GOOD
    assert parse_line(json.dumps({**GOOD, **change}).encode()) is None


@pytest.mark.parametrize("line", [b"[" * 100_000, b"1" * 10_000, b"\0" * 512, b"null", b"[]"])
def test_hostile_lines(line):
    assert parse_line(line) is None
