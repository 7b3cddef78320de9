"""Detach keys (G-04)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import InvalidParameter
from runengine.monitor import detach
from runengine.monitor.detach import DetachKeys


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("ctrl-p,ctrl-q", detach.DEFAULT),
        ("a", b"a"),
        ("ctrl-@,x", b"\0x"),
        ("ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\x1b\x1c\x1d\x1e\x1f"),
        ("CTRL-A,A", b"\x01A"),
        ("", b""),
    ],
)
def test_parse(text: str, keys: bytes) -> None:
    assert detach.parse(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ab", "a,,b", "é", "ctrl-p ctrl-q"])
def test_unknown_keys(text: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid detach keys"):
        detach.parse(text)


def feed_all(keys: bytes, chunks: list[bytes]) -> tuple[bytes, bool]:
    scanner = DetachKeys(keys)
    passed = b""
    for chunk in chunks:
        out, detached = scanner.feed(chunk)
        passed += out
        if detached:
            return passed, True
    return passed + scanner.flush(), False


@given(st.binary(max_size=3).filter(bool), st.lists(st.binary(max_size=5), max_size=8))
def test_nothing_is_lost_or_changed(keys: bytes, chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    before, found, _ = whole.partition(keys)
    assert feed_all(keys, chunks) == (before if found else whole, bool(found))


def test_begun_sequence_is_held_back() -> None:
    scanner = DetachKeys(detach.DEFAULT)
    assert scanner.feed(b"ls\x10") == (b"ls", False)
    assert scanner.feed(b"\x10") == (b"\x10", False)
    assert scanner.feed(b"\x11") == (b"", True)


def test_no_keys_pass_everything() -> None:
    assert DetachKeys(b"").feed(detach.DEFAULT) == (detach.DEFAULT, False)
