"""Times are read back as they were written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.linux import clock

YEAR_10000_S = 253402300800


@given(st.integers(0, YEAR_10000_S * 10**9 - 1))
def test_what_was_written_is_read_back(nanoseconds):
    assert clock.parse_ns(clock.format_ns(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0001-01-01T00:00:00Z", -62135596800),
        ("1970-01-01T00:00:00.5Z", 0.5),
        ("2000-02-29T23:59:59Z", 951868799),
        ("2100-03-01T00:00:00.000000000Z", 4107542400),
    ],
)
def test_known_times(text, seconds):
    assert clock.parse_ns(text) == int(seconds * 10**9)


@pytest.mark.parametrize("text", ["", "now", "2026-01-01", "2026-13-01T00:00:00Z", "2026-01-01T0"])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match=r"."):
        clock.parse_ns(text)
