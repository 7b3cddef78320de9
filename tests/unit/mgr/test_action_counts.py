"""Counting what the journal says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.mgr.action_counts import (
    BOUNDS_S,
    MAX_ACTIONS,
    OTHER,
    ActionCounts,
    Histogram,
    exit_label,
)


def message(action, kind="container", took=None, **attributes):
    found = {"Type": kind, "Action": action, "Actor": {"ID": "x", "Attributes": attributes}}
    return found if took is None else {**found, "tookNs": took}


def counted(*messages):
    counts = ActionCounts()
    counts.update(messages)
    return counts


def test_actions_are_counted_by_type():
    counts = counted(message("start"), message("start"), message("pull", "image"))
    assert counts.actions == {("container", "start"): 2, ("image", "pull"): 1}


def test_details_of_an_action_are_no_label():
    counts = counted(message("exec_start: sh -c 'a:b'"), message("health_status: healthy"))
    assert set(counts.actions) == {("container", "exec_start"), ("container", "health_status")}


def test_durations_are_in_seconds():
    counts = counted(message("start", took=50_000_000), message("start"), message("start", took=3))
    histogram = counts.durations["container", "start"]
    assert histogram.buckets()[-1] == ("+Inf", 2)
    assert histogram.sum_s == pytest.approx(0.050000003)


@pytest.mark.parametrize("took", [-1, "1", 1.5, True, None])
def test_durations_that_are_none(took):
    assert counted(message("start") | {"tookNs": took}).durations == {}


def test_ends_by_exit_code():
    counts = counted(
        message("die", exitCode="0"), message("die", exitCode="137"), message("die", exitCode="0"),
        message("die"), message("die", exitCode="unknown"), message("exec_die", exitCode="5"),
    )
    assert counts.exits == {"0": 2, "137": 1, "unknown": 2}


@given(st.text())
def test_there_are_few_labels_for_exit_codes(text):
    assert exit_label(text) in {"unknown", *map(str, range(256))}


def test_lost_messages_are_told():
    assert counted(message("start"), None, message("stop")).gaps == 1


def test_a_damaged_journal_makes_no_more_than_so_many_series():
    counts = counted(*(message(f"a{number}") for number in range(3 * MAX_ACTIONS)), message("a0"))
    assert len(counts.actions) == MAX_ACTIONS + 1
    assert counts.actions[OTHER] == 2 * MAX_ACTIONS
    assert counts.actions["container", "a0"] == 2


@given(st.lists(st.floats(0, 1000)))
def test_buckets_hold_what_does_not_exceed_their_bound(durations):
    histogram = Histogram()
    for seconds in durations:
        histogram.observe(seconds)
    expected = [sum(seconds <= bound for seconds in durations) for bound in BOUNDS_S]
    assert [count for _, count in histogram.buckets()] == [*expected, len(durations)]
    assert histogram.sum_s == pytest.approx(sum(durations))
