"""Inflating and hashing ahead."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import random
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from runengine.errors import Corrupt, Unavailable
from runengine.rootfs.inflate import is_plain
from runengine.rootfs.stream import BLOCK_BYTES, LayerStream

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = random.Random(1).randbytes(BLOCK_BYTES * 2 + 777) + bytes(BLOCK_BYTES * 3)


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstd,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
STRICT = ["gzip", "zstd"]


class Trickle:
    """Gives a few bytes at a time, as sockets do."""

    def __init__(self, data: bytes, seed: int = 0, limit: int = 5000) -> None:
        self._file = io.BytesIO(data)
        self._random = random.Random(seed)
        self._limit = limit

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, self._random.randint(1, self._limit)))


def read_all(source) -> tuple[bytes, str]:
    with closing(LayerStream(source)) as stream:
        data = bytearray()
        while True:
            piece = stream.take(100_000)
            if piece.start == piece.end:
                return bytes(data), stream.hexdigest()
            data += piece.buffer[piece.start : piece.end]


@pytest.mark.parametrize("name", COMPRESSORS)
@pytest.mark.parametrize("size", [0, 1, 5, 100, BLOCK_BYTES, len(DATA)])
def test_every_format_comes_out_whole(name, size):
    packed = COMPRESSORS[name](DATA[:size])
    data, digest = read_all(Trickle(packed))
    assert data == DATA[:size]
    assert digest == hashlib.sha256(DATA[:size]).hexdigest()


@pytest.mark.parametrize("name", COMPRESSORS)
def test_how_a_layer_begins_tells_whether_it_is_plain(name):
    assert is_plain(COMPRESSORS[name](DATA)) == (name == "plain")
    assert not is_plain(COMPRESSORS[name](DATA)[:2])  # too little to tell


@pytest.mark.parametrize("name", ["gzip", "zstd", "bzip2", "xz"])
def test_several_members_are_one_stream(name):
    pack = COMPRESSORS[name]
    packed = pack(DATA[:1000]) + pack(b"") + pack(DATA[1000:])
    assert read_all(io.BytesIO(packed))[0] == DATA


def test_skippable_zstd_frames_are_skipped():
    skippable = b"\x51\x2a\x4d\x18\x04\0\0\0abcd"
    packed = skippable + zstd(DATA[:5000]) + skippable
    assert read_all(io.BytesIO(packed))[0] == DATA[:5000]


def test_zeros_may_pad_gzip():
    assert read_all(io.BytesIO(gzip.compress(DATA) + bytes(1000)))[0] == DATA


@pytest.mark.parametrize("name", COMPRESSORS)
@pytest.mark.parametrize("cut", [1, 3, 4, 8, 9, 20, 1000])
def test_an_early_end_is_corrupt(name, cut):
    packed = COMPRESSORS[name](DATA)
    if name == "plain":
        assert read_all(io.BytesIO(packed[:-cut]))[0] == DATA[:-cut]
        return
    with pytest.raises(Corrupt, match=f"the {name} stream is damaged"):
        read_all(Trickle(packed[:-cut]))


def test_every_cut_of_a_frame_without_checksum_is_noticed():
    data = random.Random(2).randbytes(2000)
    packed = zstandard.ZstdCompressor(write_checksum=False).compress(data)
    for size in [*range(5, 30), *range(30, 1900, 83), *range(1900, len(packed))]:
        with pytest.raises(Corrupt, match="the zstd stream is damaged"):
            read_all(io.BytesIO(packed[:size]))


@pytest.mark.parametrize("name", STRICT)
@pytest.mark.parametrize("garbage", [b"x", b"\x1f", b"\x1f\x8b", b"\x28\xb5\x2f", b"garbage" * 50])
def test_bytes_after_the_end_are_corrupt(name, garbage):
    with pytest.raises(Corrupt, match=f"the {name} stream is damaged"):
        read_all(io.BytesIO(COMPRESSORS[name](DATA) + garbage))


@pytest.mark.parametrize("offset", [-8, -6, -4, -1])
def test_wrong_gzip_checksums_and_lengths_are_corrupt(offset):
    packed = bytearray(gzip.compress(DATA))
    packed[offset] ^= 1
    with pytest.raises(Corrupt, match="the gzip stream is damaged"):
        read_all(io.BytesIO(bytes(packed)))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(STRICT), st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_a_flipped_bit_never_goes_unnoticed(name, where, bit):
    packed = bytearray(COMPRESSORS[name](DATA[: BLOCK_BYTES * 2]))
    packed[int(where * len(packed))] ^= 1 << bit
    try:
        data, digest = read_all(io.BytesIO(bytes(packed)))
    except Corrupt:
        return
    # A header has bits that say nothing (a name, a time); a lost magic makes it plain data.
    assert data in (DATA[: BLOCK_BYTES * 2], bytes(packed))
    assert digest == hashlib.sha256(data).hexdigest()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(),
    st.lists(st.tuples(st.sampled_from(["read", "take", "skip"]), st.integers(0, 400_000))),
)
def test_reading_taking_and_skipping_see_the_same_bytes(seed, steps):
    position = 0
    with closing(LayerStream(Trickle(DATA, seed, limit=300_000))) as stream:
        for how, size in steps:
            if how == "read":
                assert stream.read(size) == DATA[position : position + size]
                position = min(len(DATA), position + size)
            elif how == "take":
                piece = stream.take(size)
                data = piece.buffer[piece.start : piece.end]
                assert data == DATA[position : position + len(data)]
                assert data or not size or position == len(DATA)
                position += len(data)
            else:
                assert stream.skip_to(position + size) == (position + size <= len(DATA))
                position = min(len(DATA), position + size)
            assert stream.tell() == position


def test_errors_of_the_source_pass_through():
    class Failing(Trickle):
        def read(self, size: int) -> bytes:
            if self._file.tell() > 10_000:
                raise Unavailable("the registry stalls")
            return super().read(size)

    for pack in COMPRESSORS.values():
        with pytest.raises(Unavailable, match="the registry stalls"):
            read_all(Failing(pack(DATA)))


def test_closing_early_ends_the_threads():
    before = threading.active_count()
    stream = LayerStream(io.BytesIO(gzip.compress(bytes(100 << 20))))
    assert stream.read(10) == bytes(10)
    stream.close()
    assert threading.active_count() == before


def test_the_hash_is_of_the_whole_stream_only():
    with closing(LayerStream(io.BytesIO(DATA))) as stream:
        stream.read(10)
        with pytest.raises(AssertionError, match="not read to its end"):
            stream.hexdigest()
