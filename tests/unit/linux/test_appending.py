"""Lines that many append to one file."""

import fcntl
import os
import threading

import pytest

from runengine.linux import appending
from runengine.linux.appending import append_line

NEVER = 1 << 30


def lines(path):
    return path.read_bytes().splitlines()


def test_makes_file_and_directory_for_root_alone(tmp_path):
    path = tmp_path / "events" / "journal"
    append_line(str(path), b"one\n", NEVER)
    append_line(str(path), b"two\n", NEVER)
    assert path.read_bytes() == b"one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_what_a_full_disk_cut_off_is_ended_by_the_next(tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(b"one\ntw")
    append_line(str(path), b"three\n", NEVER)
    append_line(str(path), b"four\n", NEVER)
    assert path.read_bytes() == b"one\ntw\nthree\nfour\n"


def test_turned_over_at_the_limit_with_one_older(tmp_path):
    path = tmp_path / "journal"
    for number in range(5):
        append_line(str(path), b"line %d\n" % number, 14)
    assert lines(path) == [b"line 4"]
    assert lines(tmp_path / "journal.1") == [b"line 2", b"line 3"]
    assert sorted(os.listdir(tmp_path)) == ["journal", "journal.1"]


def test_a_new_empty_file_is_there_at_once(tmp_path):
    path = tmp_path / "journal"
    append_line(str(path), b"line\n", 1)
    assert path.read_bytes() == b""


def test_nothing_is_written_to_a_file_that_was_renamed(tmp_path, monkeypatch):
    path = tmp_path / "journal"
    append_line(str(path), b"one\n", NEVER)
    real, opened = appending._open, []

    def renamed_meanwhile(name):
        opened.append(real(name))
        if len(opened) == 1:
            os.rename(name, f"{name}.1")
        return opened[-1]

    monkeypatch.setattr(appending, "_open", renamed_meanwhile)
    append_line(str(path), b"two\n", NEVER)
    assert (lines(path), lines(tmp_path / "journal.1")) == ([b"two"], [b"one"])


def test_no_turning_over_while_another_writes(tmp_path):
    path = tmp_path / "journal"
    append_line(str(path), b"one\n", NEVER)
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        append_line(str(path), b"two\n", 1)
        assert lines(path) == [b"one", b"two"]
    append_line(str(path), b"three\n", 1)
    assert lines(tmp_path / "journal.1") == [b"one", b"two", b"three"]


def test_one_who_was_stopped_with_the_lock_stops_nobody(tmp_path):
    path = tmp_path / "journal"
    path.touch()
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        append_line(str(path), b"one\n", NEVER)
    assert lines(path) == [b"one"]


def test_what_cannot_be_written_raises_and_keeps_no_descriptor(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for path in ("/dev/full", str(tmp_path), "/proc/nowhere/journal"):
        with pytest.raises(OSError):  # noqa: PT011
            append_line(path, b"line\n", NEVER)
    assert len(os.listdir("/proc/self/fd")) == before


def test_many_writers_lose_and_mix_nothing(tmp_path):
    """Fewer bytes than two files hold, so everything must be there, turned over or not.

    A writer that sees half of another's line ends it: an empty line may stand between two.
    """
    path, each, writers = tmp_path / "journal", 100, 8
    line = b"%d %d " + b"x" * 200 + b"\n"
    limit = len(line % (0, 10)) * each * writers * 6 // 10

    def write(writer):
        for number in range(each):
            append_line(str(path), line % (writer, number), limit)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [text for text in (*lines(tmp_path / "journal.1"), *lines(path)) if text]
    for writer in range(writers):
        own = [text for text in found if text.startswith(b"%d " % writer)]
        assert own == [(line % (writer, number)).strip() for number in range(each)]
    assert len(found) == each * writers
