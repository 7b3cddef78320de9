"""``cp``: which argument is a container's file."""

from __future__ import annotations

import pytest

from runengine.cli.copy import _told, split
from runengine.mgr.container.copying import Copied, Place


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web:/etc", Place("/etc", "web")),
        ("web:", Place("", "web")),
        ("web:a:b", Place("a:b", "web")),
        ("./web:/etc", Place("./web:/etc")),
        ("../web:x", Place("../web:x")),
        ("/web:/etc", Place("/web:/etc")),
        ("file", Place("file")),
        ("-", Place("-")),
        (":x", Place("x")),
    ],
)
def test_a_colon_makes_it_a_container_s(text, expected):
    assert split(text) == expected


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (999, "999B"), (1536, "1.54kB"), (200_000_000, "200MB")]
)
def test_sizes_are_told_as_docker_tells_them(size, text):
    assert _told(Copied(1, size, 0)) == text
