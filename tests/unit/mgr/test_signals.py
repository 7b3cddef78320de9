"""Signal parsing."""

import pytest

from runengine.errors import InvalidParameter
from runengine.mgr.container.signals import parse_signal, signal_name


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("TERM", 15),
        ("sigkill", 9),
        (9, 9),
        ("64", 64),
        ("RTMIN", 34),
        ("rtmin+15", 49),
        ("SIGRTMAX-14", 50),
        ("RTMAX", 64),
    ],
)
def test_names_and_numbers(text, number):
    # E-37
    assert parse_signal(text) == number


@pytest.mark.parametrize(
    "text", ["0", "65", "123SIGTERM", "", "RTMIN+16", "RTMAX-15", "NOPE", "-9", "RTMIN+", "٣"]
)
def test_invalid(text):
    # E-37
    with pytest.raises(InvalidParameter, match="Invalid signal"):
        parse_signal(text)


@pytest.mark.parametrize("number", [*range(1, 32), *range(34, 65)])
def test_names_parse_back(number):
    assert parse_signal(signal_name(number)) == number
