"""Reading logs: which lines, how they look, and that following loses and doubles nothing."""

from __future__ import annotations

import os
import re
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import InvalidParameter, Unsupported
from runengine.linux import clock
from runengine.mgr import log_files
from runengine.mgr.logs import GAP, parse_tail, read_logs
from runengine.monitor import logs as writer_module
from runengine.monitor.logs import open_log
from tests.support.logs import read, read_stdout, spec
from tests.support.waiting import wait_for

DRIVERS = ["cri", "json-file"]
SECOND = 1_000_000_000
BEGIN = 1_700_000_000 * SECOND


@pytest.fixture(params=DRIVERS)
def driver(request):
    return request.param


@pytest.fixture
def ticking(monkeypatch):
    """Each chunk is written one second after the last, the first at BEGIN."""
    moments = iter(range(BEGIN, BEGIN + 100_000 * SECOND, SECOND))
    monkeypatch.setattr(writer_module.Clock.__init__, "__defaults__", (lambda: next(moments),))


def write(log, *lines):
    writer = open_log(log)
    for line in lines:
        stream, data = line if isinstance(line, tuple) else ("stdout", line)
        writer.write(stream, data)
    writer.close()


def numbers(start, end):
    return [b"%d\n" % number for number in range(start, end)]


def test_created_container_has_an_empty_log(tmp_path):
    # G-06
    assert read(spec(tmp_path)) == {"stdout": b"", "stderr": b""}
    assert read(spec(tmp_path), tail=3) == {"stdout": b"", "stderr": b""}


def test_no_stream_is_an_error(tmp_path):
    # G-06
    with pytest.raises(InvalidParameter, match="at least one stream"):
        read(spec(tmp_path), stdout=False, stderr=False)


def test_driver_none_cannot_be_read(tmp_path):
    # G-06
    with pytest.raises(Unsupported, match="does not support reading"):
        read(spec(tmp_path, "none"))


def test_streams_are_separate_and_selectable(tmp_path, driver):
    # G-11
    log = spec(tmp_path, driver)
    write(log, b"out\n", ("stderr", b"err\n"), b"more\n")
    assert read(log) == {"stdout": b"out\nmore\n", "stderr": b"err\n"}
    assert read(log, stderr=False) == {"stdout": b"out\nmore\n", "stderr": b""}
    assert read(log, stdout=False, tail=1) == {"stdout": b"", "stderr": b"err\n"}


def test_order_over_streams_is_kept(tmp_path, driver):
    log = spec(tmp_path, driver)
    write(log, b"1\n", ("stderr", b"2\n"), ("stderr", b"3\n"), b"4\n")
    seen = []
    read_logs(log, emit=lambda stream, data: seen.append(data), is_running=lambda: False)
    assert b"".join(seen) == b"1\n2\n3\n4\n"


@pytest.mark.parametrize(
    ("tail", "expected"),
    [(3, 97), ("1", 99), (0, 100), ("0", 100), (1000, 0), (100, 0), (99, 1)],
)
def test_tail(tmp_path, driver, tail, expected):
    # G-08
    log = spec(tmp_path, driver)
    write(log, *numbers(0, 100))
    assert read_stdout(log, tail=tail) == b"".join(numbers(expected, 100))


@pytest.mark.parametrize("tail", ["all", -1, "junk", None])
def test_tail_of_everything(tmp_path, driver, tail):
    # G-08
    log = spec(tmp_path, driver)
    write(log, *numbers(0, 10))
    assert read_stdout(log, tail=tail) == b"".join(numbers(0, 10))


def test_tail_reaches_into_rotated_files(tmp_path, driver):
    # G-08
    log = spec(tmp_path, driver, max_size=500, max_file=100)
    write(log, *numbers(0, 100))
    assert os.path.exists(log["path"] + ".5")
    for count in (1, 9, 40, 100):
        assert read_stdout(log, tail=count) == b"".join(numbers(100 - count, 100))


def test_tail_counts_an_unfinished_line(tmp_path, driver):
    log = spec(tmp_path, driver)
    write(log, b"1\n2\n3")
    assert read_stdout(log, tail=1) == b"3"
    assert read_stdout(log, tail=2) == b"2\n3"


def test_tail_counts_a_line_of_many_pieces_once(tmp_path, driver):
    log = spec(tmp_path, driver)
    long = b"x" * 300_000
    write(log, b"first\n", b"begin ", long, b" end\n", b"last\n")
    assert read_stdout(log, tail=2) == b"begin " + long + b" end\nlast\n"
    assert read_stdout(log, tail=1) == b"last\n"


def test_tail_of_one_stream_counts_its_lines_only(tmp_path, driver):
    log = spec(tmp_path, driver)
    write(log, *[("stderr", b"e\n") if line[0] % 2 else line for line in numbers(0, 100)])
    expected = [line for line in numbers(0, 100) if not line[0] % 2][-5:]
    assert read_stdout(log, tail=5, stderr=False) == b"".join(expected)


@given(
    chunks=st.lists(st.tuples(st.booleans(), st.sampled_from([b"a\n", b"b", b"c\nd\n", b"\n"]))),
    count=st.integers(0, 8),
)
def test_tail_is_the_end_of_everything(tmp_path_factory, chunks, count):
    log = spec(tmp_path_factory.mktemp("tail"), max_size=90, max_file=1000)
    write(log, *[("stderr" if err else "stdout", data) for err, data in chunks])
    everything = read_stdout(log, stderr=False)
    lines = everything.splitlines(keepends=True)
    assert read_stdout(log, stderr=False, tail=count) == b"".join(lines[-count:] if count else [])


@pytest.mark.usefixtures("ticking")
def test_since_and_until_include_their_ends(tmp_path, driver):
    # G-07
    log = spec(tmp_path, driver)
    write(log, *numbers(0, 10))
    assert read_stdout(log, since=BEGIN + 7 * SECOND) == b"7\n8\n9\n"
    assert read_stdout(log, since=BEGIN + 7 * SECOND + 1) == b"8\n9\n"
    assert read_stdout(log, until=BEGIN + 2 * SECOND) == b"0\n1\n2\n"
    assert read_stdout(log, since=str(BEGIN // SECOND + 8), until="") == b"8\n9\n"
    assert read_stdout(log, since=BEGIN + 2 * SECOND, until=BEGIN + 3 * SECOND) == b"2\n3\n"
    window = {"since": BEGIN + 2 * SECOND, "until": BEGIN + 6 * SECOND}
    assert read_stdout(log, tail=5, **window) == b"5\n6\n"


@pytest.mark.usefixtures("ticking")
def test_limits_far_away(tmp_path, driver):
    log = spec(tmp_path, driver)
    write(log, b"x\n")
    assert read_stdout(log, since=1, until=10**30) == b"x\n"


@pytest.mark.usefixtures("ticking")
def test_timestamps_and_details(tmp_path, driver):
    # G-10
    log = spec(tmp_path, driver, attrs={"zone": "a b", "app": "x=1,2"})
    write(log, b"one\ntwo\n", b"thr", b"ee\n")
    stamps = [clock.format_ns(BEGIN + second * SECOND).encode() for second in (0, 1)]
    plain = [b"one\n", b"two\n", b"three\n"]
    times = [stamps[0], stamps[0], stamps[1]]
    details = b"app=x%3D1%2C2,zone=a+b "
    assert read_stdout(log, timestamps=True) == b"".join(
        time_ + b" " + line for time_, line in zip(times, plain, strict=True)
    )
    assert read_stdout(log, details=True) == b"".join(details + line for line in plain)
    assert read_stdout(log, timestamps=True, details=True, tail=1) == (
        stamps[1] + b" " + details + b"three\n"
    )


FOREIGN = [b"", b"not a record\n", b"{}\n[1]\n", b'{"log":1}\n', b"\0" * 50]


@pytest.mark.parametrize("text", FOREIGN)
def test_foreign_records_are_passed_over(tmp_path, driver, text):
    log = spec(tmp_path, driver)
    write(log, b"one\n")
    with open(log["path"], "ab") as file:
        file.write(text if text.endswith(b"\n") else text + b"\n")
    write(log, b"two\n")
    assert read_stdout(log) == b"one\ntwo\n"
    assert read_stdout(log, tail=2) == b"one\ntwo\n"
    assert read_stdout(log, timestamps=True).count(b"\n") == 2


def test_dockers_own_json_is_read(tmp_path):
    log = spec(tmp_path, "json-file")
    with open(log["path"], "w") as file:
        file.write('{"log":"a\\u003cb\\n","stream":"stderr","time":"2024-01-02T03:04:05.1Z"}\n')
    assert read(log, timestamps=True)["stderr"] == b"2024-01-02T03:04:05.100000000Z a<b\n"


def test_output_that_looks_like_records_is_just_output(tmp_path, driver):
    text = b'2026-01-01T00:00:00.000000000Z stdout F x\n","stream":"stdout","a":"y"}\n{"log":"\n'
    log = spec(tmp_path, driver, attrs={"stream": "stdout", "log": "x"})
    write(log, text * 3)
    assert read_stdout(log) == text * 3


def test_blocks_are_cut_anywhere(tmp_path, driver, monkeypatch):
    log = spec(tmp_path, driver)
    write(log, *numbers(0, 300), b"long " * 100 + b"\n")
    expected = b"".join(numbers(0, 300)) + b"long " * 100 + b"\n"
    for size in (1, 50, 101, 1000):
        monkeypatch.setattr(log_files, "BLOCK_BYTES", size)
        monkeypatch.setattr(log_files, "TAIL_BLOCK_BYTES", size)
        assert read_stdout(log) == expected
        assert read_stdout(log, tail=250) == b"".join(expected.splitlines(keepends=True)[-250:])


def test_hole_left_by_a_dead_writer(tmp_path, driver):
    log = spec(tmp_path, driver, max_size=300, max_file=10)
    write(log, *numbers(0, 30))
    lost = tmp_path / "container.log.1"
    lost.rename(tmp_path / "elsewhere")
    expected = read_stdout(log)
    assert expected.startswith(b"0\n")
    os.rename(log["path"], lost)
    assert read_stdout(log) == expected


class Follower(threading.Thread):
    """``logs -f`` in a thread."""

    def __init__(self, log, **options):
        super().__init__(daemon=True)
        self.running = True
        self.data = b""
        self.offered = b""
        self.follows = threading.Event()
        self.takes = threading.Event()
        self.takes.set()
        self.arguments = (log, options)
        self.start()

    def run(self):
        log, options = self.arguments
        read_logs(log, emit=self.emit, is_running=self.is_running, follow=True, **options)

    def is_running(self):
        """Asked first when all that was written before has been read, or passed over."""
        self.follows.set()
        return self.running

    def emit(self, _stream, data):
        self.offered += data
        assert self.takes.wait(20)
        self.data += data

    def wait_for(self, data):
        deadline = time.monotonic() + 20
        while data not in self.offered and time.monotonic() < deadline:
            time.sleep(0.005)
        assert data in self.offered

    def end(self):
        self.running = False
        self.join(20)
        assert not self.is_alive()
        return self.data


def test_follow_begins_before_the_log_does(tmp_path, driver):
    log = spec(tmp_path, driver)
    follower = Follower(log)
    writer = open_log(log)
    writer.write("stdout", b"hello\n")
    follower.wait_for(b"hello\n")
    writer.write("stdout", b"bye\n")
    writer.close()
    assert follower.end() == b"hello\nbye\n"


def test_follow_with_tail(tmp_path, driver):
    log = spec(tmp_path, driver)
    write(log, *numbers(0, 10))
    follower = Follower(log, tail=0)
    follower2 = Follower(log, tail=2, stderr=False)
    assert follower.follows.wait(20)
    assert follower2.follows.wait(20)
    write(log, b"more\n")
    follower.wait_for(b"more\n")
    assert follower.end() == b"more\n"
    assert follower2.end() == b"8\n9\nmore\n"


def test_follow_ends_at_until(tmp_path):
    log = spec(tmp_path)
    write(log, b"early\n")
    follower = Follower(log, until=time.time_ns())
    follower.join(20)
    assert not follower.is_alive()
    assert follower.data == b"early\n"


def test_what_was_written_before_the_end_is_read(tmp_path, driver):
    # G-09: asked first, read then
    log = spec(tmp_path, driver)
    seen = []

    def is_running():
        write(log, b"last words\n")
        return False

    read_logs(
        log, emit=lambda _, data: seen.append(data), is_running=is_running, follow=True
    )
    assert b"".join(seen) == b"last words\n"


def test_emit_that_fails_ends_the_reading(tmp_path):
    # G-09: a client that went away frees everything
    log = spec(tmp_path)
    write(log, b"x\n")
    before = os.listdir("/proc/self/fd")

    def emit(_stream, _data):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        read_logs(log, emit=emit, is_running=lambda: True, follow=True)
    assert os.listdir("/proc/self/fd") == before


def test_following_without_inotify(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("runengine.linux.inotify.DirectoryWatch.__init__", refuse)
    test_follow_begins_before_the_log_does(tmp_path, "cri")


@pytest.mark.parametrize(("max_size", "count"), [(150, 400), (5_000, 8_000)])
def test_follow_over_rotations_loses_and_doubles_nothing(tmp_path, driver, max_size, count):
    """DESIGN §10: several followers, hundreds of rotations, all lines once and in order."""
    log = spec(tmp_path, driver, max_size=max_size, max_file=2000)
    followers = [Follower(log) for _ in range(3)]
    writer = open_log(log)
    expected = b"".join(numbers(0, count))
    for start in range(0, len(expected), 137):
        writer.write("stdout", expected[start : start + 137])
        if start % 1000 < 137:
            time.sleep(0.0001)
    writer.close()
    assert [follower.end() == expected for follower in followers] == [True] * 3
    assert read_stdout(log) == expected


def test_follower_that_falls_behind_is_told(tmp_path, driver):
    log = spec(tmp_path, driver, max_size=1000, max_file=3)
    writer = open_log(log)
    follower = Follower(log)
    writer.write("stdout", b"first\n")
    wait_for(lambda: follower.data)  # taken, not only offered
    follower.takes.clear()
    writer.write("stdout", b"second\n")
    follower.wait_for(b"second\n")
    for line in numbers(0, 1000):
        writer.write("stdout", line)
    writer.close()
    follower.takes.set()
    data = follower.end()
    assert data.startswith(b"first\nsecond\n")
    assert data.count(GAP) == 1
    rest = [int(line) for line in data.partition(GAP)[2].split()]
    assert rest == list(range(rest[0], 1000))


@pytest.mark.parametrize("text", [None, "all", "-1", -5, "x", ""])
def test_tail_that_is_no_number_is_everything(text):
    assert parse_tail(text) is None


def test_names_in_timestamps_are_fixed_width(tmp_path, driver):
    log = spec(tmp_path, driver)
    write(log, b"x\n")
    assert re.fullmatch(rb"\S{30} x\n", read_stdout(log, timestamps=True))
