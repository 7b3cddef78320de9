"""The buffer before a slow log: nobody waits, or the container does; what is lost is counted."""

from __future__ import annotations

import os
import select
import threading
from typing import Any

import pytest

from runengine.monitor import relay
from runengine.monitor.logs import open_log
from runengine.monitor.relay import Relay
from runengine.monitor.session import Session, Streams
from tests.support.logs import read, spec


class Writer:
    """A log that takes a chunk when ``gate`` is let go, and remembers everything."""

    def __init__(self) -> None:
        self.gate = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.taken: list[object] = []

    def write(self, stream: str, data: bytes) -> None:
        self.begun.release()
        self.gate.acquire()
        if data == b"bug":
            raise ValueError("a bug")
        self.taken.append((stream, data))

    def missed(self, count: int, _why: str) -> None:
        self.taken.append(count)

    def close(self) -> None:
        self.taken.append("closed")

    def let_go(self) -> None:
        for _ in range(100):
            self.gate.release()


@pytest.fixture
def writer():
    return Writer()


def has_room(log: Relay) -> bool:
    assert log.room_fd is not None
    return bool(select.select([log.room_fd], [], [], 10)[0])


def test_everything_arrives_in_order(writer):
    log = Relay(writer, 1000, drops=True)
    writer.let_go()
    chunks = [("stdout", b"%d\n" % number) for number in range(50)]
    for stream, data in chunks:
        log.write(stream, data)
    log.close()
    assert writer.taken == [*chunks, "closed"]


def test_what_does_not_fit_is_dropped_and_counted_where_it_was(writer):
    log = Relay(writer, 10, drops=True)
    log.write("stdout", b"12345")
    writer.begun.acquire()  # it is being written, and takes its time
    log.write("stdout", b"12345")
    log.write("stdout", b"lost1")
    log.write("stderr", b"lost12")
    assert not log.full
    writer.gate.release()
    writer.begun.acquire()
    log.write("stdout", b"again")
    writer.let_go()
    log.close()
    first = ("stdout", b"12345")
    assert writer.taken == [first, first, 11, ("stdout", b"again"), "closed"]


def test_a_loss_at_the_end_is_told_too(writer):
    log = Relay(writer, 5, drops=True)
    log.write("stdout", b"12345")
    writer.begun.acquire()
    log.write("stdout", b"lost")
    writer.let_go()
    log.close()
    assert writer.taken == [("stdout", b"12345"), 4, "closed"]


def test_one_chunk_may_be_larger_than_the_buffer(writer):
    log = Relay(writer, 1, drops=True)
    writer.let_go()
    log.write("stdout", b"12345")
    log.close()
    assert writer.taken == [("stdout", b"12345"), "closed"]


def test_without_dropping_it_says_when_it_is_full_and_when_there_is_room(writer):
    log = Relay(writer, 10, drops=False)
    for number in range(3):
        log.write("stdout", b"1234%d" % number)
        assert log.full == (number == 2)
    writer.let_go()
    assert has_room(log)
    assert not log.full
    log.close()
    assert [each for each in writer.taken if isinstance(each, int)] == []
    assert len(writer.taken) == 4


def test_last_words_have_a_limit(writer, monkeypatch):
    monkeypatch.setattr(relay, "LAST_WORDS_BYTES", 10)
    log = Relay(writer, 10, drops=False)
    for _ in range(5):
        log.write("stdout", b"12345")
    writer.let_go()
    log.close()
    assert writer.taken == [("stdout", b"12345")] * 4 + [5, "closed"]


def test_a_log_that_takes_nothing_does_not_keep_the_end_from_coming(writer, monkeypatch):
    monkeypatch.setattr(relay, "CLOSE_TIMEOUT_S", 0.01)
    log = Relay(writer, 10, drops=True)
    log.write("stdout", b"12345")
    with pytest.raises(TimeoutError, match="did not take the last 5 bytes"):
        log.close()
    monkeypatch.undo()
    writer.let_go()
    log.close()


def test_a_writers_bug_stops_nothing(writer):
    log = Relay(writer, 5, drops=False)
    writer.let_go()
    log.write("stdout", b"bug")
    log.write("stdout", b"12345")
    log.write("stdout", b"12345")
    log.close()
    assert writer.taken == [("stdout", b"12345"), ("stdout", b"12345"), "closed"]


@pytest.mark.parametrize("driver", ["cri", "json-file"])
def test_the_loss_is_in_the_log_and_joins_no_lines(tmp_path, driver):
    writer = open_log(spec(tmp_path, driver))
    assert not isinstance(writer, Relay)
    writer.write("stdout", b"one\nbegun")
    writer.missed(7, relay.WHY)
    writer.write("stdout", b"two\n")
    writer.close()
    found = read(spec(tmp_path, driver))
    lost = 7 if driver == "cri" else 12  # what was held back is lost with it
    note = f"runengine: {lost} bytes of output dropped: the log is slower than the output\n"
    assert found["stderr"] == note.encode()
    assert found["stdout"] in (b"one\nbegun\ntwo\n", b"one\ntwo\n")


def test_the_mode_is_what_asks_for_a_relay(tmp_path):
    log = open_log({**spec(tmp_path), "mode": "non-blocking", "buffer_bytes": 1000})
    assert isinstance(log, Relay)
    log.write("stdout", b"one\n")
    log.close()
    assert read(spec(tmp_path))["stdout"] == b"one\n"


class Loop:
    """Remembers what is watched."""

    def __init__(self) -> None:
        self.watched: dict[int, Any] = {}

    def watch(self, fd: int, _mask: int, handler: Any) -> None:
        self.watched[fd] = handler

    def forget(self, fd: int) -> None:
        self.watched.pop(fd, None)

    def tidy(self) -> None:
        """Nothing to give back."""


def test_a_session_reads_no_further_while_the_log_is_full(writer):
    loop: Any = Loop()
    output, program = os.pipe()
    log = Relay(writer, 3, drops=False)
    session = Session(
        loop, Streams(None, {output: 1}, terminal=False), log=log, close_on_eof=False
    )
    session.begin()
    os.write(program, b"more than three")
    loop.watched[output](select.POLLIN)
    assert output not in loop.watched
    writer.let_go()
    assert has_room(log)
    loop.watched[log.room_fd](select.POLLIN)
    assert output in loop.watched
    session.close()
    assert loop.watched == {}
    log.close()
    os.close(program)
