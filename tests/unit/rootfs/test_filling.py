"""Small files that a thread fills."""

import errno
import os
import threading

import pytest

from runengine.errors import EngineError
from runengine.rootfs import filling
from runengine.rootfs.filling import BATCH, Filler
from runengine.rootfs.tarheader import Member
from runengine.rootfs.unpack import explain
from runengine.rootfs.usage import Count

MTIME_NS = 1_500_000_000_000_000_000


def member(name, mode=0o640):
    made = Member(name)
    made.mode, made.uid, made.gid = mode, os.getuid(), os.getgid()
    made.mtime_ns, made.xattrs = MTIME_NS, {}
    return made


def give(filler, path, data):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    filler.give(fd, data, member(path.name))
    return fd


def fill(filler, directory, count):
    for number in range(count):
        give(filler, directory / f"{number}", b"%d" % number)
    filler.finish()


@pytest.mark.parametrize("count", [0, 1, BATCH - 1, BATCH, 5 * BATCH + 3])
def test_every_file_is_filled_and_looks_as_it_should(tmp_path, count):
    filler = Filler(explain, Count())
    fill(filler, tmp_path, count)
    filler.close()
    for number in range(count):
        path = tmp_path / f"{number}"
        seen = path.stat()
        assert path.read_bytes() == b"%d" % number
        assert (seen.st_mode & 0o7777, seen.st_mtime_ns) == (0o640, MTIME_NS)


def test_a_few_files_take_no_thread(tmp_path):
    before = threading.active_count()
    filler = Filler(explain, Count())
    give(filler, tmp_path / "one", b"x")
    assert threading.active_count() == before
    filler.finish()
    assert (tmp_path / "one").read_bytes() == b"x"


def test_what_was_replaced_meanwhile_does_not_come_back(tmp_path):
    filler = Filler(explain, Count())
    give(filler, tmp_path / "same", b"first")
    (tmp_path / "same").unlink()
    give(filler, tmp_path / "same", b"second")
    filler.finish()
    assert (tmp_path / "same").read_bytes() == b"second"


@pytest.mark.parametrize(
    ("raised", "shown", "words"),
    [
        (OSError(errno.ENOSPC, "No space left"), EngineError, "no space left.*member '3'"),
        (ValueError("unforeseen"), ValueError, "unforeseen"),
    ],
)
def test_a_failure_is_told_and_everything_closed(tmp_path, monkeypatch, raised, shown, words):
    def refuse(fd, data):
        if data == b"3":
            raise raised
        os.write(fd, data)

    monkeypatch.setattr(filling, "write_all", refuse)
    filler = Filler(explain, Count())
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(shown, match=words):
        fill(filler, tmp_path, 5 * BATCH + 3)
    filler.close()
    assert set(os.listdir("/proc/self/fd")) == before
    assert (tmp_path / "2").read_bytes() == b"2"


def test_what_is_given_up_is_closed_and_not_filled(tmp_path):
    filler = Filler(explain, Count())
    before = set(os.listdir("/proc/self/fd"))
    give(filler, tmp_path / "left", b"x")
    filler.close()
    assert set(os.listdir("/proc/self/fd")) == before
    assert (tmp_path / "left").read_bytes() == b""
