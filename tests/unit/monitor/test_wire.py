"""Frames and JSON between the monitor and its clients."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.monitor import wire

PAYLOADS = st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=300)), max_size=8)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.text() | NUMBERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_frame_is_dockers() -> None:
    # F-07: stream, three zero bytes, length in big endian.
    assert wire.frame(wire.STDERR, b"hello") == b"\x02\0\0\0\0\0\0\x05hello"


@given(PAYLOADS, st.integers(1, 40))
def test_frames_survive_any_cut(frames: list[tuple[int, bytes]], size: int) -> None:
    data = b"".join(wire.frame(stream, payload) for stream, payload in frames)
    splitter = wire.Splitter()
    found = []
    for start in range(0, len(data), size):
        found += splitter.feed(data[start : start + size])
    assert found == frames
    assert splitter.pending == 0


@pytest.mark.parametrize("data", [b"\x04" + bytes(7), bytes(4) + b"\xff" * 4, b"GET / HTTP/1"])
def test_what_is_no_frame(data: bytes) -> None:
    with pytest.raises(wire.ProtocolError):
        wire.Splitter().feed(data)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_json_is_that_of_the_json_module(value: dict[str, object]) -> None:
    assert json.loads(wire.dumps(value)) == value
    assert wire.loads(json.dumps(value).encode()) == value
    assert wire.loads(json.dumps(value, indent=2).encode() + b"\n") == value


@pytest.mark.parametrize(
    "data",
    [b"", b"[1]", b"1", b'{"a":1} x', b'{"a"', b"{'a':1}", b"\xff", b'{"a":}', b'{"a":"\\x"}'],
)
def test_what_is_no_json_object(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(wire.ProtocolError):
        wire.loads(data)
    # As in the monitor, which has not loaded json.
    monkeypatch.delitem(sys.modules, "json.decoder")
    with pytest.raises(wire.ProtocolError):
        wire.loads(data)


def test_what_has_no_json_form() -> None:
    with pytest.raises(TypeError, match="bytes has no JSON form"):
        wire.dumps({"a": b"b"})


def test_interpreters_without_the_c_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_lean_codec", lambda: None)
    decode, encode = wire._codec()
    assert decode('{"a":1}') == ({"a": 1}, 7)
    assert json.loads(encode({"a": [None]})) == {"a": [None]}
