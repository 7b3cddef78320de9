"""Extended headers."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.rootfs import pax
from tests.support.tars import record

KEYS = st.text(st.characters(codec="ascii", exclude_characters="=\n\0"), min_size=1)


@given(st.dictionaries(KEYS, st.binary(min_size=1)))
def test_reads_back_what_was_written(values):
    wanted = {k: v for k, v in values.items() if not k.startswith("GNU.sparse.")}
    data = b"".join(record(key, value) for key, value in wanted.items())
    assert pax.parse(data, {}).values == wanted


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data):
    try:
        values = pax.parse(data, {}).values
    except ValueError:
        return
    assert sum(map(len, values.values())) <= len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"5 a=b\n",
        b"7 a=b\n",
        b"0 a=b\n",
        b"-6 a=b\n",
        b"06 ab\n\n",
        b"a=b\n",
        b"6 a=bX",
        b"99999999999999999999 a=b\n",
        record("a", b"b") + b"\0\0",
        record("GNU.sparse.numbytes", b"5"),
        record("GNU.sparse.offset", b"5") * 2,
        record("GNU.sparse.offset", b"-1"),
    ],
)
def test_malformed_records_are_refused(data):
    with pytest.raises(ValueError, match=r"record|sparse|length"):
        pax.parse(data, {})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"1", 10**9),
        (b"1.5", 1_500_000_000),
        (b"1600000000.123456789", 1_600_000_000_123_456_789),
        (b"1600000000.1234567899", 1_600_000_000_123_456_789),
        (b"1.", 10**9),
        (b"-0.5", -500_000_000),
        (b"-2.25", -2_250_000_000),
    ],
)
def test_times_are_exact_to_the_nanosecond(text, wanted):
    assert pax.Records({"mtime": text}).time_ns("mtime", 0) == wanted


@pytest.mark.parametrize("text", [b"x", b"1e3", b".5", b"1.2.3", b"nan", b"1_0", b" 1"])
def test_odd_times_and_numbers_are_refused(text):
    records = pax.Records({"k": text})
    with pytest.raises(ValueError, match="k is not"):
        records.time_ns("k", 0)
    with pytest.raises(ValueError, match="k is not"):
        records.number("k", 0)


def test_empty_values_and_missing_ones_leave_the_default():
    records = pax.parse(record("path", b""), {"path": b"global", "uid": b"7"})
    assert records.text("path", "own") == "own"
    assert records.number("uid", 1) == 7
    assert records.number("gid", 1) == 1


def test_attributes_come_from_both_spellings():
    records = pax.Records(
        {
            "SCHILY.xattr.user.a": b"\x00\xff=",
            "LIBARCHIVE.xattr.user.b%25c": base64.b64encode(b"\x01\x02\x03\x04").rstrip(b"="),
            "LIBARCHIVE.xattr.user.a": base64.b64encode(b"other"),
        }
    )
    assert records.xattrs() == {"user.a": b"\x00\xff=", "user.b%c": b"\x01\x02\x03\x04"}
    with pytest.raises(ValueError, match=r"."):
        pax.Records({"LIBARCHIVE.xattr.user.b": b"*"}).xattrs()
