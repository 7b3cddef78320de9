"""Layers that are much larger than they look, stopped by their uncompressed length."""

from __future__ import annotations

import gzip
import io
import os

import pytest
import zstandard

from runengine.errors import InvalidParameter
from runengine.rootfs.stream import BLOCK_BYTES, LayerStream
from runengine.rootfs.unpack import Limits, unpack_layer
from tests.support.tars import END, archive, member

MOST = 4 << 20
SIZE = 16 << 20
PACKERS = [gzip.compress, zstandard.compress]


class Counted(io.BytesIO):
    """A source that knows how much was read of it."""

    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.total += len(data)
        return data


def refused(data: bytes, dest) -> Counted:
    """Unpack what must be refused; its source, which knows how far it was read."""
    source = Counted(data)
    with pytest.raises(InvalidParameter, match=f"more than {MOST} bytes") as caught:
        unpack_layer(source, str(dest), Limits(max_bytes=MOST))
    assert "max_layer_bytes" in str(caught.value.resolution)
    return source


@pytest.mark.parametrize("pack", PACKERS)
@pytest.mark.parametrize("fill", [b"\0", b"A"])
def test_one_large_file(tmp_path, pack, fill):
    refused(pack(archive(member("big", fill * SIZE))), tmp_path)
    assert not (tmp_path / "big").exists()


@pytest.mark.parametrize("pack", PACKERS)
def test_many_files(tmp_path, pack):
    files = [member(f"f{number}", b"A" * (1 << 20)) for number in range(16)]
    refused(pack(archive(*files)), tmp_path)
    written = sum(entry.stat().st_size for entry in os.scandir(tmp_path))
    assert written <= MOST


@pytest.mark.parametrize("pack", PACKERS)
def test_zeros_behind_the_end_count(tmp_path, pack):
    refused(pack(archive(member("a", b"x")) + END + bytes(SIZE)), tmp_path)


def test_a_bomb_is_not_read_to_its_end(tmp_path):
    files = [member(f"f{number}", os.urandom(1 << 20)) for number in range(12)]
    source = refused(gzip.compress(archive(*files), 0), tmp_path)
    assert source.total < MOST + 16 * BLOCK_BYTES


def test_the_limit_itself_is_allowed():
    stream = LayerStream(io.BytesIO(bytes(MOST)), MOST)
    try:
        assert stream.skip_to(MOST)
        assert not stream.skip_to(MOST + 1)
    finally:
        stream.close()
