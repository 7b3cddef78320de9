"""WWW-Authenticate as registries write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.registry.auth import Challenge, choose, parse_challenges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"',
            [Challenge("bearer", "https://a/t", "s", "repository:x:pull,push")],
        ),
        ("Basic realm=plain", [Challenge("basic", "plain", "", "")]),
        (
            'Basic realm="a, b\\"c", Bearer realm="r" , service=x',
            [Challenge("basic", 'a, b"c', "", ""), Challenge("bearer", "r", "x", "")],
        ),
        ("Negotiate, Basic realm=x", [Challenge("negotiate", "", "", ""),
                                      Challenge("basic", "x", "", "")]),
        ("BEARER Realm=r", [Challenge("bearer", "r", "", "")]),
        ("", []),
        ("=?", []),
    ],
)  # fmt: skip
def test_parse(header, expected) -> None:
    assert parse_challenges(header) == expected


def test_bearer_goes_before_basic_and_gets_a_scope() -> None:
    assert choose('Basic realm="b", Bearer realm="r"', "a/b") == Challenge(
        "bearer", "r", "", "repository:a/b:pull"
    )
    assert choose('Bearer service="no realm", Basic realm="b"', "a/b") == Challenge(
        "basic", "b", "", ""
    )
    assert choose("Digest x=y", "a/b") is None


@given(st.text(max_size=80) | st.text('Bearealm="\\, =', max_size=60))
def test_any_header_is_survived(header) -> None:
    choose(header, "x")
