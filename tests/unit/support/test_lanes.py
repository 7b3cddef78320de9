"""Several pytests share out one selection: nothing is left out, nothing runs twice."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import lanes, shares

FILES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 30)), max_size=12)


def names_of(files) -> list[str]:
    return [f"{name}{i}::test_{n}" for i, (name, count) in enumerate(files) for n in range(count)]


@given(FILES)
def test_shares_are_neighbours_of_one_file(files):
    names = names_of(files)
    found = shares.split(names)
    assert [index for share in found for index in share] == list(range(len(names)))
    for share in found:
        assert len(share) <= shares.SHARE
        assert len({names[index].partition("::")[0] for index in share}) == 1


@given(st.integers(0, 50), st.integers(1, 6))
def test_every_lane_would_take_all(count, number):
    for lane in range(number):
        assert sorted(shares.order(count, lane, number)) == list(range(count))


def test_two_lanes_begin_at_the_two_ends():
    assert shares.order(4, 0, 2) == [0, 1, 2, 3]
    assert shares.order(4, 1, 2) == [3, 2, 1, 0]
    assert [shares.order(8, lane, 4)[0] for lane in range(4)] == [0, 3, 4, 7]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_each_test_is_taken_once(tmp_path, number):
    names = names_of([("a", 25), ("b", 3), ("c", 13), ("a", 1)])
    takers = [shares.take(tmp_path, names, lane, number) for lane in range(number)]
    chance, found = random.Random(number), []
    while takers:
        taker = chance.choice(takers)
        index = next(taker, None)
        if index is None:
            takers.remove(taker)
        else:
            found.append(index)
    assert sorted(found) == list(range(len(names)))


def test_lanes_that_see_other_tests_end(tmp_path):
    """Else one could be left out, or run twice."""
    assert list(shares.take(tmp_path, ["a::1", "a::2"], 0, 2)) == [0, 1]
    for others in (["a::1", "a::3"], ["a::1"], ["a::1", "a::2", "a::3"]):
        with pytest.raises(pytest.UsageError, match="did not collect the same"):
            next(shares.take(tmp_path, others, 1, 2))


def test_each_test_comes_with_the_next():
    assert list(shares.with_next(iter("abc"))) == [("a", "b"), ("b", "c"), ("c", None)]
    assert list(shares.with_next(iter(""))) == []


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([0, 0], 0),
        ([0, 1], 1),
        ([5, 0], 0),
        ([5, 5], 5),
        ([1, 3], 3),
        ([0, -9], -9),
        ([], 0),
    ],
)
def test_one_exit_code_for_all(codes, code):
    assert lanes.merged(codes) == code
