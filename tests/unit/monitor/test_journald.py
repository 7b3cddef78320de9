"""Records for systemd's journal, as its native protocol has them."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

import pytest

from runengine.monitor import journald
from runengine.monitor.journald import PIECE_BYTES, JournalWriter
from runengine.monitor.logs import open_log
from runengine.monitor.relay import Relay


class Journal:
    """A socket that records are sent to."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.listen()

    def listen(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(0)
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        self.socket.bind(self.path)

    def records(self) -> list[dict[str, bytes]]:
        """What has come since the last call."""
        found = []
        with suppress(BlockingIOError):
            while True:
                found.append(parse(self.socket.recv(1 << 20)))
        return found

    def messages(self) -> list[tuple[bytes, bytes]]:
        return [(one["PRIORITY"], one["MESSAGE"]) for one in self.records()]


def parse(record: bytes) -> dict[str, bytes]:
    """Fields: ``NAME=value``, or ``NAME``, the length in eight bytes, and the value."""
    fields = {}
    while record:
        line, _, rest = record.partition(b"\n")
        name, is_text, value = line.partition(b"=")
        if not is_text:
            size = int.from_bytes(rest[:8], "little")
            value, end, rest = rest[8 : 8 + size], rest[8 + size : 9 + size], rest[9 + size :]
            assert end == b"\n"
        fields[name.decode()] = value
        record = rest
    return fields


@pytest.fixture
def journal(tmp_path, monkeypatch):
    # A socket's address holds 108 bytes.
    monkeypatch.chdir(tmp_path)
    found = Journal("socket")
    yield found
    found.socket.close()


@pytest.fixture
def writer(journal):
    opened = JournalWriter({"CONTAINER_ID": "c0ffee", "SYSLOG_IDENTIFIER": "we\nb=1"}, "socket")
    opened.open()
    yield opened
    opened.close()


def test_a_record_a_line(journal, writer):
    writer.write("stdout", b"one\n\ntwo = 2\nthr")
    writer.write("stderr", b"\xff\x00\n")
    writer.write("stdout", b"ee\n")
    records = journal.records()
    assert [(one["PRIORITY"], one["MESSAGE"]) for one in records] == [
        (b"6", b"one"),
        (b"6", b""),
        (b"6", b"two = 2"),
        (b"3", b"\xff\x00"),
        (b"6", b"three"),
    ]
    assert {one["CONTAINER_ID"] for one in records} == {b"c0ffee"}
    assert {one["SYSLOG_IDENTIFIER"] for one in records} == {b"we\nb=1"}
    assert not any("CONTAINER_PARTIAL_MESSAGE" in one for one in records)


def test_an_unfinished_line_comes_at_the_end(journal, writer):
    writer.write("stdout", b"$ ")
    assert journal.messages() == []
    writer.close()
    assert journal.messages() == [(b"6", b"$ ")]


@pytest.mark.parametrize("cut", [1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES + 5])
def test_long_lines_are_pieces(journal, writer, cut):
    line = os.urandom(2 * PIECE_BYTES + 5).replace(b"\n", b"x")
    writer.write("stdout", line[:cut])
    writer.write("stdout", line[cut:] + b"\nnext\n")
    records = journal.records()
    assert b"".join(one["MESSAGE"] for one in records[:-1]) == line
    partial = [one.get("CONTAINER_PARTIAL_MESSAGE") for one in records]
    assert partial == [b"true", b"true", None, None]


def test_there_is_no_journal(tmp_path):
    path = str(tmp_path / "none")
    with pytest.raises(FileNotFoundError) as caught:
        JournalWriter({}, path).open()
    assert caught.value.filename == path


def test_a_journal_that_goes_and_comes_back(journal, writer):
    writer.write("stdout", b"one\n")
    journal.socket.close()
    writer.write("stdout", b"two\nthree\n")
    journal.listen()
    writer.write("stdout", b"four\n")
    dropped = b"runengine: 10 bytes of output dropped: Connection refused"
    assert journal.messages() == [(b"3", dropped), (b"6", b"four")]


def test_a_restart_between_two_lines_loses_nothing(journal, writer):
    writer.write("stdout", b"one\n")
    journal.socket.close()
    journal.listen()
    writer.write("stdout", b"two\n")
    assert journal.messages() == [(b"6", b"two")]


def test_what_a_relay_has_dropped(journal, writer):
    writer.write("stdout", b"begun")
    writer.missed(7, "it is slow")
    assert journal.messages() == [
        (b"6", b"begun"),
        (b"3", b"runengine: 7 bytes of output dropped: it is slow"),
    ]


def test_a_record_that_is_too_long_is_counted(journal, writer):
    writer = JournalWriter({"BIG": "x" * (1 << 20)}, "socket")
    writer.open()
    writer.write("stdout", b"one\n")
    writer.close()
    assert journal.messages() == []


def test_it_always_has_a_relay(journal, monkeypatch):
    monkeypatch.setattr(journald.JournalWriter.__init__, "__defaults__", ("socket",))
    log = open_log(
        {
            "driver": "journald",
            "path": "",
            "max_size": 0,
            "max_file": 1,
            "attrs": {},
            "fields": {"CONTAINER_ID": "x"},
            "buffer_bytes": 100,
        }
    )
    assert isinstance(log, Relay)
    log.write("stdout", b"one\n")
    log.close()
    assert journal.messages() == [(b"6", b"one")]
