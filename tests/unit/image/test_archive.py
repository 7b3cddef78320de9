"""Reading archives from streams: every header form, nothing trusted."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import Corrupt
from runengine.mgr.image.archive import Archive, decompressor, normalised
from tests.support import tars

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def contents(data):
    archive = Archive(io.BytesIO(data))
    return [(entry.name, entry.target, archive.read()) for entry in archive]


class Dribble:
    """A pipe that gives few bytes at a time."""

    def __init__(self, data):
        self.stream = io.BytesIO(data)

    def read(self, size):
        return self.stream.read(min(size, 7))


@pytest.mark.parametrize("form", FORMATS)
def test_files_links_and_long_names(form):
    long = "d/" * 40 + "n" * 90
    data = tars.archive(
        tars.directory("d"),
        tars.member("./d/one", b"1"),
        tars.member(long, b"x" * 1000),
        tars.symlink("a/b/sym", "../other"),
        tars.link("hard", "./d/one"),
        format=form,
    )
    assert [entry for entry in contents(data) if entry[0] != "d"] == [
        ("d/one", None, b"1"),
        (long, None, b"x" * 1000),
        ("a/b/sym", "a/other", b""),
        ("hard", "d/one", b""),
    ]


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress]
)
def test_compressed_as_a_whole(pack):
    data = pack(tars.archive(tars.member("x", b"y" * 10_000)))
    assert contents(data) == [("x", None, b"y" * 10_000)]
    archive = Archive(Dribble(data))
    assert [archive.read() for _ in archive] == [b"y" * 10_000]


def test_members_that_nobody_reads_are_passed_over():
    data = tars.archive(tars.member("x", b"y" * 10_000), tars.member("z", b"w"))
    assert [entry.name for entry in Archive(io.BytesIO(data))] == ["x", "z"]


def test_size_of_an_extended_header_counts():
    info, body = tars.member("big", b"b" * 600)
    block = tars.header(info, (124, b"00000000000\0"))
    data = tars.extended(tars.record("size", b"600")) + block + tars.pad(body) + tars.END
    assert contents(data) == [("big", None, b"b" * 600)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"x" * 512,
        b"\x1f\x8b" + b"x" * 600,
        tars.archive(tars.member("x", b"y" * 600))[:700],
        tars.archive(tars.member("x", b"y" * 600))[:1024],
        gzip.compress(tars.archive(tars.member("x", b"y" * 600)), mtime=0)[:-9],
        tars.extended(b"99 path=x\n"),
        tars.extended(b"nonsense"),
        tars.extended(tars.record("size", b"-5")) + tars.header(tars.member("x")[0]),
        tars.header(tars.member("x")[0], (124, b"\xff" * 12)),
        tars.header(tars.member("x", b"y")[0], (156, b"S")),
    ],
)
def test_damage_is_corrupt(data):
    with pytest.raises(Corrupt):
        contents(data)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_huge_extended_header_is_refused_unread(kind):
    block = tars.header(tars.member("x")[0], (124, b"77777777777\0"), (156, kind))

    class Endless:
        given = block

        def read(self, size):
            assert size <= 1 << 20
            piece, self.given = self.given[:size], self.given[size:]
            assert piece, "read on"
            return piece

    with pytest.raises(Corrupt, match="1 MiB"):
        list(Archive(Endless()))


def test_padding_behind_the_end_is_taken():
    stream = io.BytesIO(tars.archive(tars.member("x")) + bytes(20_000))
    list(Archive(stream))
    assert stream.read() == b""


def test_a_broken_stream_makes_the_whole_archive_unusable():
    archive = Archive(io.BytesIO(tars.archive(tars.member("x", b"y" * 2000))[:1024]))
    next(iter(archive))
    archive.check_intact()
    with pytest.raises(Corrupt, match="truncated"):
        archive.read()
    with pytest.raises(Corrupt, match="truncated"):
        archive.check_intact()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("./a", "a"), ("/a/b", "a/b"), ("a/../../b", "b"), ("../../etc", "etc"), ("a//b/", "a/b")],
)
def test_names_are_labels(name, expected):
    assert normalised(name) == expected


def test_decompressor():
    assert b"".join(decompressor(iter([bz2.compress(b"abc" * 9999)]))) == b"abc" * 9999
    with pytest.raises(Corrupt):
        list(decompressor(iter([lzma.compress(b"abc" * 9999)[:60]])))


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1),
            st.binary(max_size=1500),
        ),
        max_size=6,
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_whatever_tarfile_writes_comes_back(files, form):
    files = [(name, data) for name, data in files if name not in (".", "..")]
    data = tars.archive(*(tars.member(f"f/{name}", body) for name, body in files), format=form)
    expected = [(f"f/{name}", None, body) for name, body in files]
    assert contents(data) == expected


@given(st.binary(min_size=1, max_size=3000))
def test_any_bytes_are_read_or_refused(data):
    try:
        contents(data)
    except Corrupt:
        return


@given(st.integers(0, 4000), st.integers(0, 255))
def test_any_changed_byte_is_read_or_refused(position, value):
    data = bytearray(
        tars.archive(tars.member("n" * 120, b"x" * 700), tars.symlink("s", "t" * 130))
    )
    data[position % len(data)] = value
    try:
        contents(bytes(data))
    except Corrupt:
        return
