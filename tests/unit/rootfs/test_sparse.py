"""Files with holes: every format, and zeros that are written out in full."""

from __future__ import annotations

import io
import os
from contextlib import suppress

import pytest

from runengine.errors import Corrupt
from runengine.rootfs.unpack import unpack_layer
from tests.support.tars import END, archive, extended, header, member, pad, record


@pytest.fixture
def dest(tmp_path):
    """Where to unpack."""
    path = tmp_path / "diff"
    path.mkdir()
    return path


def unpack(data: bytes, dest):
    return unpack_layer(io.BytesIO(data), str(dest))


def test_runs_of_zeros_become_holes(dest):
    size = 64 << 20
    unpack(archive(member("zeros", bytes(size)), member("mixed", b"a" + bytes(size) + b"b")), dest)
    for name in ("zeros", "mixed"):
        seen = os.lstat(dest / name)
        assert seen.st_blocks * 512 < 1 << 20
        assert seen.st_size == size + (2 if name == "mixed" else 0)
    data = (dest / "mixed").read_bytes()
    assert data == b"a" + bytes(size) + b"b"


SPARSE = [(1000, b"one" * 100), (70_000, b"two" * 100), (1 << 20, b"")]
SPARSE_SIZE = 1 << 20


def sparse_content() -> bytes:
    content = bytearray(SPARSE_SIZE)
    for offset, data in SPARSE:
        content[offset : offset + len(data)] = data
    return bytes(content)


def sparse_data() -> bytes:
    return b"".join(data for _, data in SPARSE)


def old_gnu_sparse() -> bytes:
    def entry(offset: int, length: int) -> bytes:
        return b"%011o\0%011o\0" % (offset, length)

    entries = [entry(offset, len(data)) for offset, data in SPARSE]
    info, _ = member("sparse", sparse_data())
    # One segment in the header, the others in an extension block, as if there were many.
    size = b"%011o\0" % SPARSE_SIZE
    first = header(info, (156, b"S"), (386, entries[0]), (482, b"\1"), (483, size))
    return first + b"".join(entries[1:]).ljust(504, b"\0") + b"\0" * 8 + pad(sparse_data())


def pax_sparse(version: str) -> bytes:
    numbers = [n for offset, data in SPARSE for n in (offset, len(data))]
    body = sparse_data()
    if version == "0.0":
        keys = ["GNU.sparse.offset", "GNU.sparse.numbytes"] * len(SPARSE)
        records = record("GNU.sparse.size", b"%d" % SPARSE_SIZE)
        records += b"".join(record(k, b"%d" % n) for k, n in zip(keys, numbers, strict=True))
    elif version == "0.1":
        records = record("GNU.sparse.size", b"%d" % SPARSE_SIZE)
        records += record("GNU.sparse.name", b"sparse")
        records += record("GNU.sparse.map", b",".join(b"%d" % n for n in numbers))
    else:
        records = record("GNU.sparse.major", b"1") + record("GNU.sparse.minor", b"0")
        records += record("GNU.sparse.name", b"sparse")
        records += record("GNU.sparse.realsize", b"%d" % SPARSE_SIZE)
        body = pad(b"".join(b"%d\n" % n for n in (len(SPARSE), *numbers))) + body
    name = "sparse" if version == "0.0" else "GNUSparseFile.0/sparse"
    return extended(records) + header(member(name, body)[0]) + pad(body)


@pytest.mark.parametrize(
    "data", [old_gnu_sparse(), pax_sparse("0.0"), pax_sparse("0.1"), pax_sparse("1.0")]
)
def test_sparse_formats_keep_their_holes(dest, data):
    unpack(data + archive(member("next", b"x")), dest)
    assert sorted(os.listdir(dest)) == ["next", "sparse"]
    assert (dest / "sparse").read_bytes() == sparse_content()
    assert os.lstat(dest / "sparse").st_blocks * 512 < SPARSE_SIZE // 2


def test_long_sparse_maps_in_the_data(dest):
    count = 3000
    numbers = [count, *(n for i in range(count) for n in (i * 8192, 3))]
    body = pad(b"".join(b"%d\n" % n for n in numbers)) + b"abc" * count
    records = record("GNU.sparse.major", b"1") + record("GNU.sparse.minor", b"0")
    records += record("GNU.sparse.realsize", b"%d" % (count * 8192))
    unpack(extended(records) + header(member("s", body)[0]) + pad(body) + END, dest)
    content = (dest / "s").read_bytes()
    assert len(content) == count * 8192
    assert content[::8192] == b"a" * count
    assert content.count(b"abc") == count


@pytest.mark.parametrize(
    ("numbers", "stored"),
    [
        (b"99999999999\n0\n1\n", 512),
        (b"2\n0\n600\n", 1024),
        (b"x\n", 512),
        (b"1\n5\n-1\n", 512),
        (b"1\n9223372036854775807\n1\n", 1024),
    ],
)
def test_bad_sparse_maps_are_corrupt(dest, numbers, stored):
    records = record("GNU.sparse.major", b"1") + record("GNU.sparse.realsize", b"100000")
    body = numbers.ljust(stored, b"\0")
    with pytest.raises(Corrupt, match="malformed"):
        unpack(extended(records) + header(member("s", body)[0]) + pad(body) + END, dest)


def test_sizes_that_no_filesystem_takes_are_corrupt(dest, tmp_path):
    largest = 2**63 - 1
    with (tmp_path / "probe").open("wb") as file, suppress(OSError):
        file.truncate(largest)
        pytest.skip("this file system (tmpfs?) takes any size")
    records = record("GNU.sparse.map", b"") + record("GNU.sparse.size", b"%d" % largest)
    with pytest.raises(Corrupt, match="'s' cannot be unpacked"):
        unpack(extended(records) + header(member("s")[0]) + END, dest)
