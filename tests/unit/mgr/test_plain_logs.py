"""Logs that a container wrote itself: bytes as they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import Conflict, Unsupported
from runengine.mgr import plain_logs
from runengine.mgr.log_options import parse_log_options
from runengine.mgr.logs import read_logs
from runengine.monitor.protocol import AttachOptions


@pytest.fixture
def log(tmp_path):
    return {**parse_log_options("passthrough", {}), "path": str(tmp_path / "output.log")}


def read(log, **options):
    found = []
    options.setdefault("is_running", lambda: False)
    read_logs(log, emit=lambda stream, data: found.append((stream, data)), **options)
    assert {stream for stream, _ in found} <= {"stdout"}
    return b"".join(data for _, data in found)


def write(log, data, mode="ab"):
    with open(log["path"], mode) as file:
        file.write(data)


def test_all_of_it_the_unfinished_line_too(log):
    assert read(log) == b""
    write(log, b"one\n\xfftwo\nthree")
    assert read(log) == b"one\n\xfftwo\nthree"
    assert read(log, stderr=False) == b"one\n\xfftwo\nthree"
    assert read(log, stdout=False) == b""


@pytest.mark.parametrize(
    ("tail", "rest"),
    [
        ("0", b""),
        (1, b"three"),
        (2, b"two\nthree"),
        (9, b"one\ntwo\nthree"),
        (None, b"one\ntwo\nthree"),
    ],
)
def test_the_last_lines(log, tail, rest):
    write(log, b"one\ntwo\nthree")
    assert read(log, tail=tail) == rest
    write(log, b"\n")
    assert read(log, tail=tail) == (rest + b"\n" if rest else b"")


@given(st.lists(st.sampled_from([b"\n", b"a", b"bc"]), max_size=30), st.integers(0, 8))
def test_lines_are_counted_from_the_end_whatever_the_blocks(tmp_path_factory, parts, count):
    data = b"".join(parts)
    path = tmp_path_factory.getbasetemp() / "tail.log"
    path.write_bytes(data)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain_logs, "_BLOCK_BYTES", 3)
        plain_logs.read(str(path), count, lambda _, piece: found.append(piece), None)
    lines = data.splitlines(keepends=True)
    assert b"".join(found) == b"".join(lines[max(0, len(lines) - count) :])


def test_following_goes_on_to_what_was_written_before_the_end(log):
    steps = [b"two\n", b"three"]

    def is_running():
        if not steps:
            return False
        write(log, steps.pop(0))
        return True

    write(log, b"one\n")
    assert read(log, tail=1, follow=True, is_running=is_running) == b"two\nthree"


def test_a_file_that_the_container_truncates_begins_anew(log):
    steps = [(b"long line\n", "wb"), (b"new\n", "wb")]

    def is_running():
        if not steps:
            return False
        write(log, *steps.pop(0))
        return True

    assert read(log, follow=True, is_running=is_running) == b"long line\nnew\n"


@pytest.mark.parametrize(
    "asked", [{"since": 5}, {"until": "1h"}, {"timestamps": True}, {"details": True}]
)
def test_times_are_not_kept(log, asked):
    with pytest.raises(Unsupported, match="keeps neither times nor details"):
        read(log, **asked)


@pytest.mark.parametrize("wanted", [AttachOptions(), AttachOptions(stdin=True, stdout=False)])
def test_there_is_nothing_to_attach_to(wanted):
    with pytest.raises(Conflict, match=r"container box writes to its log itself"):
        plain_logs.refuse_attach("box", wanted)


def test_its_input_may_be_fed():
    plain_logs.refuse_attach("box", AttachOptions(stdin=True, stdout=False, stderr=False))
