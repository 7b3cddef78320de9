"""Sizes, durations, cut texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.cli import units
from runengine.errors import InvalidParameter


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (1234, "1.23kB"),
        (999_950, "1MB"),
        (12345, "12.3kB"),
        (123456789, "123MB"),
        (5_000_000_000, "5GB"),
    ],
)
def test_sizes_have_three_digits(size, expected):
    assert units.human_size(size, 3) == expected


def test_sizes_have_four_digits_by_default():
    assert units.human_size(123456789) == "123.5MB"
    assert units.human_size_binary(8191 * 1024 * 1024) == "7.999GiB"
    assert units.human_size_binary(1024) == "1KiB"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512m", 512 << 20),
        ("512M", 512 << 20),
        ("1.5g", 3 << 29),
        ("1GiB", 1 << 30),
        ("100", 100),
        ("100b", 100),
        ("1 kb", 1024),
        (".5k", 512),
        ("0", 0),
        ("4p", 4 << 50),
    ],
)
def test_sizes_are_read(text, expected):
    assert units.parse_size(text) == expected


def test_sizes_can_be_decimal():
    assert units.parse_size("10MB", base=1000) == 10_000_000


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "1mm", "1.2.3", "1e3", "1i", "٣", "99999p"])
def test_wrong_sizes_are_refused(text):
    with pytest.raises(InvalidParameter, match="invalid size"):
        units.parse_size(text)


def refusal(read, text: str) -> str:
    """What a text is refused with; empty when it is read."""
    try:
        assert abs(read(text)) < 1 << 63
    except InvalidParameter as error:
        return error.brief
    return ""


@given(st.text(max_size=20) | st.from_regex(r"[0-9]{1,25}(\.[0-9]*)? ?[kmgtpKMGTPe]?i?[bB]?"))
def test_any_text_is_a_size_or_refused(text):
    assert refusal(units.parse_size, text)[:12] in ("", "invalid size")


@given(st.integers(0, (1 << 63) - 1), st.sampled_from("bkmgtp"))
def test_whole_numbers_are_exact(number, unit):
    factor = 1024 ** "bkmgtp".index(unit)
    if number * factor < 1 << 63:
        assert units.parse_size(f"{number}{unit}") == number * factor


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "Less than a second"),
        (0.9, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5399, "About an hour"),
        (5400, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (59 * 86400, "8 weeks"),
        (60 * 86400, "2 months"),
        (729 * 86400, "24 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_durations_are_docker_s(seconds, expected):
    assert units.ago(0, seconds) == f"{expected} ago"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_duration_has_words(seconds):
    assert units.ago(0, seconds).endswith(" ago")


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("ééé", 3, "ééé"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
    ],
)
def test_texts_are_cut_by_columns(text, width, expected):
    assert units.ellipsis(text, width) == expected


@given(st.floats(allow_nan=False))
def test_any_time_can_be_shown(seconds):
    assert isinstance(units.local_time(seconds), str)
