"""One stream, two readers."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import Corrupt
from runengine.mgr.image.pipeline import CHUNKS_AHEAD, Tee


@given(st.lists(st.binary(max_size=50), max_size=30), st.integers(1, 64))
def test_both_get_everything(chunks, size):
    stored: list[bytes] = []
    with Tee(chunks, stored.append) as tee:
        read = []
        while piece := tee.read(size):
            read.append(piece)
    assert b"".join(read) == b"".join(stored) == b"".join(chunks)
    assert all(len(piece) == size for piece in read[:-1])


def test_read_all():
    with Tee([b"a", b"b"], lambda _chunk: None) as tee:
        assert tee.read() == b"ab"
        assert tee.read(3) == b""


def test_drain_stores_the_rest_and_skip_does_not():
    for method, expected in (("drain", 100), ("skip", None)):
        stored: list[bytes] = []
        with Tee([b"x"] * 100, stored.append) as tee:
            tee.read(1)
            getattr(tee, method)()
        assert len(stored) == expected or (expected is None and len(stored) <= CHUNKS_AHEAD + 2)


def broken():
    yield b"ok"
    raise Corrupt("broken off")


def test_error_of_the_source_reaches_the_reader_again_and_again():
    with Tee(broken(), lambda _chunk: None) as tee:
        assert tee.read(2) == b"ok"
        for _ in range(2):
            with pytest.raises(Corrupt, match="broken off"):
                tee.read(1)
        with pytest.raises(Corrupt, match="broken off"):
            tee.drain()


def test_error_of_storing_reaches_the_reader():
    def refuse(_chunk):
        raise Corrupt("full")

    with Tee([b"a"] * 3, refuse) as tee, pytest.raises(Corrupt, match="full"):
        tee.drain()


def test_nothing_is_stored_after_the_block():
    stored: list[bytes] = []
    before = threading.active_count()
    with Tee([b"x"] * 1000, stored.append) as tee:
        tee.read(1)
    count = len(stored)
    assert threading.active_count() == before
    assert count <= CHUNKS_AHEAD + 2
    assert len(stored) == count


def test_storing_runs_only_so_far_ahead():
    reached = threading.Event()
    taken = []

    def source():
        for number in range(100):
            taken.append(number)
            if number == CHUNKS_AHEAD:
                reached.set()
            yield b"x"

    with Tee(source(), lambda _chunk: None):
        assert reached.wait(10)
    assert len(taken) <= CHUNKS_AHEAD + 2
