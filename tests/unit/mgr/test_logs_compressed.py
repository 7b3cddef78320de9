"""Logs whose older files are compressed: written beside the output, read as if they were not."""

from __future__ import annotations

import gzip
import os
import threading
import time

import pytest

from runengine.mgr import log_files
from runengine.mgr.logs import GAP, read_logs
from runengine.monitor import rotation
from runengine.monitor.logs import open_log
from tests.support.logs import read_stdout, spec
from tests.support.waiting import wait_for

COUNT = 3000


def lines(start, end):
    return b"".join(b"%d\n" % number for number in range(start, end))


@pytest.fixture(params=["cri", "json-file"])
def log(request, tmp_path):
    return {**spec(tmp_path, request.param, max_size=5000, max_file=2000), "compress": True}


def names(directory):
    return sorted(os.listdir(directory))


def write(writer, text):
    for start in range(0, len(text), 137):
        writer.write("stdout", text[start : start + 137])


def settled(tmp_path):
    """Whether every older file is compressed."""
    return all(name == "container.log" or name.endswith(".gz") for name in names(tmp_path))


def test_older_files_are_gzip_s_and_hold_everything(log, tmp_path):
    writer = open_log(log)
    write(writer, lines(0, COUNT))
    wait_for(lambda: settled(tmp_path))
    writer.close()
    packed = [name for name in names(tmp_path) if name.endswith(".gz")]
    assert len(packed) > 5
    for name in packed:
        with gzip.open(tmp_path / name) as file:
            assert file.read().endswith(b"\n")
        assert (tmp_path / name).stat().st_mode & 0o777 == rotation.MODE
    assert read_stdout(log) == lines(0, COUNT)
    assert read_stdout(log, tail=COUNT - 10) == lines(10, COUNT)
    assert read_stdout(log, tail=3) == lines(COUNT - 3, COUNT)


def test_the_number_of_files_is_kept(log, tmp_path):
    log["max_file"] = 3
    writer = open_log(log)
    for start in range(0, COUNT, 100):
        write(writer, lines(start, start + 100))
        time.sleep(0.001)
    wait_for(lambda: settled(tmp_path))
    writer.close()
    assert names(tmp_path) == ["container.log", "container.log.1.gz", "container.log.2.gz"]
    found = read_stdout(log)
    assert found.endswith(lines(COUNT - 100, COUNT))
    first = int(found.split()[0])
    assert found == lines(first, COUNT)


def test_followers_lose_and_double_nothing(log, tmp_path):
    heard: dict[int, bytes] = {}
    running = True

    def follow(number, pause_s):
        def emit(_stream, data):
            heard[number] = heard.get(number, b"") + bytes(data)
            time.sleep(pause_s)

        read_logs(log, emit=emit, is_running=lambda: running, follow=True)

    writer = open_log(log)
    threads = [threading.Thread(target=follow, args=(n, n * 0.0005)) for n in range(3)]
    for thread in threads:
        thread.start()
    for start in range(0, COUNT, 50):
        write(writer, lines(start, start + 50))
        time.sleep(0.001)
    wait_for(lambda: settled(tmp_path))
    writer.close()
    running = False
    for thread in threads:
        thread.join()
    assert [heard[number] == lines(0, COUNT) for number in range(3)] == [True] * 3


def test_a_follower_whose_file_is_compressed_below_it_goes_on(log, tmp_path):
    writer = open_log(log)
    writer.write("stdout", b"first\n")
    with log_files.LogReader(log["path"]) as reader:
        assert b"first" in b"".join(block or b"" for block in reader.rest())
        write(writer, lines(0, COUNT))
        wait_for(lambda: settled(tmp_path))
        blocks = list(reader.rest())
    writer.close()
    assert None not in blocks  # no gap
    assert b"".join(block or b"" for block in blocks).count(b"\n") >= COUNT
    assert GAP not in read_stdout(log)


def test_what_a_killed_writer_left(log, tmp_path):
    """Both forms of a file, and the beginning of one."""
    writer = open_log(log)
    write(writer, lines(0, COUNT))
    wait_for(lambda: settled(tmp_path))
    writer.close()
    plain = gzip.decompress((tmp_path / "container.log.1.gz").read_bytes())
    (tmp_path / "container.log.1").write_bytes(plain)
    (tmp_path / f"container.log{rotation.UNFINISHED}").write_bytes(b"\x1f\x8b")
    assert read_stdout(log) == lines(0, COUNT)
    writer = open_log(log)
    write(writer, lines(COUNT, 2 * COUNT))
    wait_for(lambda: settled(tmp_path))
    writer.close()
    assert read_stdout(log) == lines(0, 2 * COUNT)


def test_a_damaged_file_is_read_as_far_as_it_goes(log, tmp_path):
    writer = open_log(log)
    write(writer, lines(0, COUNT))
    wait_for(lambda: settled(tmp_path))
    writer.close()
    oldest = max(
        (name for name in names(tmp_path) if name.endswith(".gz")),
        key=lambda name: int(name.split(".")[2]),
    )
    data = (tmp_path / oldest).read_bytes()
    (tmp_path / oldest).write_bytes(data[: len(data) // 2])
    found = read_stdout(log).split()
    assert found[-1] == b"%d" % (COUNT - 1)
    assert 0 < len(found) < COUNT
    (tmp_path / oldest).write_bytes(b"no gzip at all")
    assert read_stdout(log).split()[-1] == b"%d" % (COUNT - 1)


def test_without_rotation_nothing_is_compressed(log, tmp_path):
    writer = open_log(log)
    writer.write("stdout", b"one\n")
    writer.close()
    assert names(tmp_path) == ["container.log"]
