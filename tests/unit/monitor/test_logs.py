"""The log's writer: formats, pieces, rotation, full disks."""

from __future__ import annotations

import errno
import json
import os
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runengine.monitor import logs
from runengine.monitor.logs import open_log
from tests.support.logs import read, spec

CRI_LINE = re.compile(
    rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) ([FP]) (.*)\n", re.DOTALL
)


def lines_of(log):
    with open(log["path"], "rb") as file:
        return file.read().splitlines(keepends=True)


def cri(log):
    found = [CRI_LINE.fullmatch(line) for line in lines_of(log)]
    return [match.groups() if match else None for match in found]


def records(log):
    return [json.loads(line) for line in lines_of(log)]


def write(log, *chunks):
    writer = open_log(log)
    for stream, data in chunks:
        writer.write(stream, data)
    writer.close()


def test_cri_line(tmp_path):
    log = spec(tmp_path)
    write(log, ("stdout", b"one\ntwo\n"), ("stderr", b"three\n"))
    assert cri(log) == [
        (b"stdout", b"F", b"one"),
        (b"stdout", b"F", b"two"),
        (b"stderr", b"F", b"three"),
    ]


def test_cri_unfinished_lines_are_tagged_and_written_at_once(tmp_path):
    # G-13
    log = spec(tmp_path)
    writer = open_log(log)
    writer.write("stdout", b"login: ")
    assert cri(log) == [(b"stdout", b"P", b"login: ")]
    writer.write("stderr", b"x\n")
    writer.write("stdout", b"root\nrest")
    writer.close()
    assert cri(log)[2:] == [(b"stdout", b"F", b"root"), (b"stdout", b"P", b"rest")]


def test_a_chunk_has_one_time_of_fixed_width(tmp_path):
    log = spec(tmp_path)
    write(log, ("stdout", b"a\n" * 100))
    assert len({line[:30] for line in lines_of(log)}) == 1


def test_clock_formats_the_second_once(monkeypatch):
    times = iter([1_700_000_000_000_000_001, 1_700_000_000_999_999_999, 1_700_000_001_000_000_000])
    clock = logs.Clock(lambda: next(times))
    assert clock.stamp() == b"2023-11-14T22:13:20.000000001Z"
    assert clock.stamp() == b"2023-11-14T22:13:20.999999999Z"
    assert clock.stamp() == b"2023-11-14T22:13:21.000000000Z"


def test_json_line(tmp_path):
    # AD-05
    log = spec(tmp_path, "json-file", attrs={"b": "2", "a": '"'})
    write(log, ("stdout", b'say "hi" \\n\t\x1b[0m\x00\n'), ("stderr", b"oops\n"))
    first, second = records(log)
    assert first["log"] == 'say "hi" \\n\t\x1b[0m\x00\n'
    assert first["stream"] == "stdout"
    assert first["attrs"] == {"b": "2", "a": '"'}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", first["time"])
    assert (second["log"], second["stream"]) == ("oops\n", "stderr")


def test_json_long_line_comes_in_pieces_of_one_time(tmp_path):
    # AD-05
    log = spec(tmp_path, "json-file")
    long = b"x" * 40_000
    write(log, ("stdout", b"short\n" + long[:20_000]), ("stdout", long[20_000:] + b"\nend"))
    found = records(log)
    assert [len(entry["log"]) for entry in found] == [6, 16384, 16384, 40_000 - 32768 + 1, 3]
    assert len({entry["time"] for entry in found[1:4]}) == 1
    assert found[4]["time"] != found[3]["time"]
    assert [entry["log"][-1] for entry in found] == ["\n", "x", "x", "\n", "d"]


def test_json_lines_have_the_time_at_which_they_began(tmp_path):
    log = spec(tmp_path, "json-file")
    chunks = b"one\ntwo\n", b"three\n", b"fo", b"ur\nfive\n"
    write(log, *(("stdout", chunk) for chunk in chunks))
    found = [entry["time"] for entry in records(log)]
    assert found == sorted(found)
    assert [found.index(time) for time in found] == [0, 0, 2, 3, 4]


def test_json_pieces_do_not_cut_characters(tmp_path):
    log = spec(tmp_path, "json-file")
    text = "a" + "€" * 10_000
    write(log, ("stdout", text.encode()))
    assert "".join(entry["log"] for entry in records(log)) == text


def test_json_replaces_what_is_not_utf8(tmp_path):
    log = spec(tmp_path, "json-file")
    write(log, ("stdout", b"\xff\xfe ok\n"))
    assert records(log)[0]["log"] == "\ufffd\ufffd ok\n"


def test_memoryviews_are_taken(tmp_path):
    log = spec(tmp_path)
    write(log, ("stdout", memoryview(bytearray(b"view\n"))))
    assert cri(log) == [(b"stdout", b"F", b"view")]


def test_none_keeps_nothing(tmp_path):
    write(spec(tmp_path, "none"), ("stdout", b"gone\n"))
    assert list(tmp_path.iterdir()) == []


def test_log_is_not_for_everybody(tmp_path):
    # G-13
    log = spec(tmp_path)
    write(log, ("stdout", b"x\n"))
    assert os.stat(log["path"]).st_mode & 0o777 & ~0o640 == 0


def test_a_missing_directory_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_log(spec(tmp_path / "absent"))


def test_torn_record_is_cut_off_on_opening(tmp_path):
    log = spec(tmp_path)
    write(log, ("stdout", b"whole\n"))
    with open(log["path"], "ab") as file:
        file.write(b"2026-01-01T00:00:00.000000000Z stdout F to" + b"rn" * 20_000)
    write(log, ("stdout", b"next\n"))
    assert [text for _, _, text in cri(log)] == [b"whole", b"next"]


BITS = [b"\n", b"a", b'"', b"\\", b"\\n", "€".encode(), b"\r", b"x" * 9000]
chunked = st.lists(
    st.tuples(
        st.sampled_from(["stdout", "stderr"]), st.lists(st.sampled_from(BITS)).map(b"".join)
    ),
    max_size=12,
)


@pytest.mark.parametrize("driver", ["cri", "json-file"])
@given(chunks=chunked, max_size=st.sampled_from([0, 1, 100, 5000]))
@settings(max_examples=60)
def test_any_chunking_reads_back_as_it_was_written(tmp_path_factory, driver, chunks, max_size):
    log = spec(tmp_path_factory.mktemp("log"), driver, max_size=max_size, max_file=10_000)
    write(log, *chunks)
    for stream in ("stdout", "stderr"):
        expected = b"".join(data for name, data in chunks if name == stream)
        assert read(log)[stream] == expected


@given(data=st.binary(max_size=3000), cuts=st.lists(st.integers(0, 3000), max_size=6))
@settings(max_examples=60)
def test_cri_keeps_bytes(tmp_path_factory, data, cuts):
    log = spec(tmp_path_factory.mktemp("log"))
    borders = [0, *sorted(cuts), len(data)]
    write(log, *[("stdout", data[a:b]) for a, b in pairwise(borders)])
    assert read(log)["stdout"] == data
    assert read(log, tail=1_000_000)["stdout"] == data


def test_rotation_keeps_within_the_limit_at_line_borders(tmp_path):
    # AD-04
    log = spec(tmp_path, max_size=1000, max_file=3)
    write(log, *[("stdout", b"%04d\n" % number * 10) for number in range(50)])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["container.log", "container.log.1", "container.log.2"]
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        assert len(content) <= 1000
        assert all(CRI_LINE.fullmatch(line) for line in content.splitlines(keepends=True))
    text = read(log)["stdout"].split()
    assert text == sorted(text)
    assert text[-1] == b"0049"


def test_single_file_begins_anew(tmp_path):
    # AD-04
    log = spec(tmp_path, max_size=100, max_file=1)
    write(log, ("stdout", b"first\n"), ("stdout", b"x" * 80 + b"\n"))
    assert [path.name for path in tmp_path.iterdir()] == ["container.log"]
    assert [text for _, _, text in cri(log)] == [b"x" * 80]


def test_a_line_larger_than_a_file_has_its_own(tmp_path):
    log = spec(tmp_path, max_size=100, max_file=5)
    write(log, ("stdout", b"a\n" + b"x" * 500 + b"\nb\n"))
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes == {"container.log": 42, "container.log.1": 541, "container.log.2": 42}


def test_a_writer_has_one_file_open_however_often_it_rotates(tmp_path):
    before = os.listdir("/proc/self/fd")
    writer = open_log(spec(tmp_path, max_size=100, max_file=3))
    opened = os.listdir("/proc/self/fd")
    for _ in range(20):
        writer.write("stdout", b"a" * 40 + b"\n")
    assert os.listdir("/proc/self/fd") == opened
    writer.close()
    assert os.listdir("/proc/self/fd") == before


def test_a_log_that_somebody_removes_is_begun_anew(tmp_path):
    log = spec(tmp_path, max_size=100, max_file=2)
    writer = open_log(log)
    writer.write("stdout", b"removed\n")
    os.unlink(log["path"])
    writer.write("stdout", b"a" * 50 + b"\n")
    writer.write("stdout", b"b" * 50 + b"\n")
    writer.close()
    assert read(log)["stdout"] == b"a" * 50 + b"\n" + b"b" * 50 + b"\n"


def test_a_log_that_cannot_be_read_leaves_no_descriptor(tmp_path, monkeypatch):
    def refuse(_fd):
        raise OSError(errno.EACCES, "Permission denied")

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(logs, "_cut_torn_record", refuse)
    with pytest.raises(PermissionError):
        open_log(spec(tmp_path))
    assert os.listdir("/proc/self/fd") == before


class FullDisk:
    """os.write that takes ``room`` bytes, then no more."""

    def __init__(self, monkeypatch):
        self.room = 1 << 30
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, fd, data):
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = self._write(fd, data[: self.room])
        self.room -= done
        return done


@pytest.fixture
def disk(monkeypatch):
    return FullDisk(monkeypatch)


NOTE = "runengine: %d bytes of output dropped: No space left on device\n"


@pytest.mark.parametrize("driver", ["cri", "json-file"])
def test_full_disk_drops_and_counts(tmp_path, disk, driver):
    # DESIGN §10: a full disk must stop neither the monitor nor the container
    log = spec(tmp_path, driver)
    writer = open_log(log)
    writer.write("stdout", b"before\n")
    disk.room = 0
    writer.write("stdout", b"lost\n" * 10)
    writer.write("stderr", b"lost too\n")
    disk.room = 1 << 20
    writer.write("stdout", b"after\n")
    writer.close()
    assert read(log) == {"stdout": b"before\nafter\n", "stderr": (NOTE % 59).encode()}


@pytest.mark.parametrize(("driver", "lost"), [("cri", 10), ("json-file", 10)])
def test_disk_that_fills_within_a_chunk_leaves_whole_records(tmp_path, disk, driver, lost):
    log = spec(tmp_path, driver)
    writer = open_log(log)
    disk.room = 100 if driver == "json-file" else 60
    writer.write("stdout", b"1234\n5678\n9abc\n")
    assert all(line.endswith(b"\n") for line in lines_of(log))
    disk.room = 1 << 20
    writer.close()
    assert read(log) == {"stdout": b"1234\n", "stderr": (NOTE % lost).encode()}


@pytest.mark.parametrize(("driver", "begun"), [("cri", b"begun"), ("json-file", b"")])
def test_lines_are_not_joined_over_a_gap(tmp_path, disk, driver, begun):
    """What json-file held back of a line is lost with its rest."""
    log = spec(tmp_path, driver)
    writer = open_log(log)
    writer.write("stdout", b"x" * 16384 + b"begun")
    disk.room = 0
    writer.write("stdout", b" lost\n")
    writer.write("stdout", b" lost\n")
    disk.room = 1 << 20
    writer.write("stdout", b"next\n")
    writer.close()
    assert read(log)["stdout"] == b"x" * 16384 + begun + b"\nnext\n"


@pytest.mark.parametrize("driver", ["cri", "json-file"])
def test_lines_that_had_ended_are_not_ended_again_by_a_gap(tmp_path, disk, driver):
    log = spec(tmp_path, driver)
    writer = open_log(log)
    writer.write("stdout", b"x" * 16384 + b"y")
    writer.write("stdout", b"z\n")
    disk.room = 0
    writer.write("stdout", b"lost\n")
    disk.room = 1 << 20
    writer.write("stdout", b"next\n")
    writer.close()
    assert read(log)["stdout"] == b"x" * 16384 + b"yz\nnext\n"


def test_gap_at_the_very_end_is_reported(tmp_path, disk):
    log = spec(tmp_path)
    writer = open_log(log)
    disk.room = 0
    writer.write("stdout", b"12345")
    disk.room = 1 << 20
    writer.close()
    assert read(log)["stderr"] == (NOTE % 5).encode()


def test_rotation_that_cannot_make_its_file_drops_and_recovers(tmp_path, monkeypatch):
    log = spec(tmp_path, max_size=100, max_file=2)
    writer = open_log(log)
    writer.write("stdout", b"a" * 50 + b"\n")
    real = os.open

    def refuse(*_args, **_keywords):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "open", refuse)
    writer.write("stdout", b"b" * 50 + b"\n")
    monkeypatch.setattr(os, "open", real)
    writer.write("stdout", b"c\n")
    writer.close()
    assert read(log)["stderr"] == (NOTE % 51).encode()
    assert read(log)["stdout"].endswith(b"c\n")


def test_log_can_be_opened_on_a_full_disk(tmp_path, monkeypatch):
    def refuse(*_args, **_keywords):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        writer = open_log(spec(tmp_path))
    writer.write("stdout", b"later\n")
    writer.close()
    assert cri(spec(tmp_path)) == [(b"stdout", b"F", b"later")]
