import pytest

from runengine.errors import InvalidParameter
from runengine.netns import names


@pytest.mark.parametrize("name", ["eth0", "a", "fifteen-bytes-x", "lan.10", "brücke-brück"])
def test_names_that_the_kernel_takes(name):
    names.check(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        ("sixteen-bytes-xx", "longer than 15 bytes"),
        ("brücke-brücken", "longer than 15 bytes"),
        (".", "directory"),
        ("..", "directory"),
        ("a/b", "'/'"),
        ("a:b", "':'"),
        ("eth%d", "'%'"),
        ("a b", "' '"),
        ("a\0b", r"'\\x00'"),
    ],
)
def test_names_that_it_does_not_take(name, reason):
    with pytest.raises(InvalidParameter, match=reason):
        names.check(name)
