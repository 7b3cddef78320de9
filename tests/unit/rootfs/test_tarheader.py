"""Header blocks."""

from __future__ import annotations

import tarfile
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.rootfs import tarheader
from runengine.rootfs.tarheader import Member, number
from tests.support.tars import directory, header, member, symlink


@given(st.integers(-(2**62), 2**62))
def test_numbers_of_any_size_read_as_tarfile_writes_them(value):
    field = tarfile.itn(value, 12, tarfile.GNU_FORMAT)  # type: ignore[attr-defined]
    assert number(bytes(field)) == value


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        (b"0000644\0", 0o644),
        (b"   644 \0", 0o644),
        (b"644     ", 0o644),
        (b"\0" * 8, 0),
        (b" " * 8, 0),
        (b"0000644\0junk", 0o644),
        (b"00000644", 0o644),
        (b"\x80\0\0\0\0\0\x01\x00", 256),
        (b"\xff" * 8, -1),
    ],
)
def test_number_fields(field, wanted):
    assert number(field) == wanted


@pytest.mark.parametrize(
    "field", [b"0000648\0", b"-000001\0", b"0x10\0", b"1_0\0", b"+7\0", b"1 2"]
)
def test_odd_numbers_are_refused(field):
    with pytest.raises(ValueError, match=r"octal|digit|base 8"):
        number(field)


@given(st.binary(min_size=512, max_size=512))
def test_random_blocks_are_refused(block):
    with pytest.raises(ValueError, match=r"."):
        Member.parse(block)


@given(st.integers(0, 511), st.integers(1, 255))
def test_every_byte_counts_in_the_checksum(position, change):
    block = bytearray(header(member("name", b"x" * 5)[0]))
    block[position] = (block[position] + change) % 256
    try:
        parsed = Member.parse(bytes(block))
    except ValueError:
        return
    # The checksum field itself may be spelt in several ways.
    assert 148 <= position < 156
    assert parsed.name == "name"


def test_checksums_of_signed_bytes_are_accepted():
    info, _ = member("n\udcff\udcfe")
    block = bytearray(header(info))
    block[148:156] = b" " * 8
    signed = sum(b - 256 if b > 127 else b for b in block)
    block[148:156] = b"%06o\0 " % signed
    assert Member.parse(bytes(block)).name == "n\udcff\udcfe"


def test_ustar_prefixes_make_long_names():
    info, _ = member("a" * 90 + "/" + "b" * 90)
    block = info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "surrogateescape")
    assert Member.parse(block).name == "a" * 90 + "/" + "b" * 90


def test_the_prefix_of_gnu_headers_is_no_prefix():
    block = header(member("name")[0], (345, b"12345670123\0"))
    assert Member.parse(block).name == "name"


def test_star_keeps_times_at_the_end_of_the_prefix():
    prefix = b"dir".ljust(131, b"\0") + b"12345670123 "
    patches = (257, b"ustar\x0000"), (345, prefix), (508, b"tar\0")
    assert Member.parse(header(member("name")[0], *patches)).name == "dir/name"


def test_old_directories_end_in_a_slash():
    block = header(member("old/")[0], (156, b"\0"), (257, bytes(8)))
    assert Member.parse(block).type == tarfile.DIRTYPE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("uid", 2**32 - 1),
        ("gid", 2**32 - 1),
        ("uid", -1),
        ("gid", 2**40),
        ("size", -1),
        ("stored", -512),
        ("size", 2**63),
        ("devmajor", 4096),
        ("devminor", -1),
        ("mode", -1),
        ("name", "a\0b"),
        ("linkname", "a\0b"),
    ],
)
def test_values_that_no_file_has_are_refused(field, value):
    parsed = Member.parse(header(member("name")[0]))
    setattr(parsed, field, value)
    with pytest.raises(ValueError, match=r"owner|size|mode|device|zero byte"):
        parsed.check()


def test_only_files_have_data():
    for info, _ in (directory("d"), symlink("l", "t")):
        parsed = Member.parse(header(info, (124, b"00000001000\0")))
        parsed.check()
        assert parsed.stored == 0


@pytest.mark.parametrize(
    ("segments", "size", "stored"),
    [
        ([0, 10, 5, 5], 20, 15),
        ([0, 10], 5, 10),
        ([0, 10], 20, 9),
        ([0], 20, 0),
        ([5, -1], 20, -1),
        ([2**62, 2**62], 2**63 - 1, 2**62),
    ],
)
def test_impossible_sparse_maps_are_refused(segments, size, stored):
    with pytest.raises(ValueError, match="sparse map"):
        tarheader.check_map(array("q", segments), size, stored)
