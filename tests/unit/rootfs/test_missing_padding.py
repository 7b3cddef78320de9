"""Archives that end without the last member's padding, as umoci writes them."""

from __future__ import annotations

import io
import tarfile

import pytest

from runengine.errors import Corrupt
from runengine.rootfs.reader import LayerReader
from runengine.rootfs.stream import LayerStream


def archive_of(name: str, size: int) -> bytes:
    """A header and its data, and nothing behind them."""
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf() + b"x" * size


def names(data: bytes) -> list[str]:
    stream = LayerStream(io.BytesIO(data))
    try:
        return [member.name for member in LayerReader(stream)]
    finally:
        stream.close()


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513])
def test_the_last_member_needs_no_padding(size):
    assert names(archive_of("a", size)) == ["a"]
    assert names(archive_of("a", size) + bytes(-size % 512) + archive_of("b", size)) == ["a", "b"]


def test_the_last_member_needs_all_its_data():
    with pytest.raises(Corrupt, match="ends within 'a'"):
        names(archive_of("a", 700)[:-1])
