"""Records of the journal as lines of a log, and how journalctl is asked for them."""

from __future__ import annotations

import json

import pytest

from runengine.mgr import journal_logs
from runengine.mgr.journal_logs import Wanted

ID = "ab" * 32


def record(message, **fields):
    found = {
        "__REALTIME_TIMESTAMP": "1700000000000001",
        "PRIORITY": "6",
        "MESSAGE": message,
        **fields,
    }
    return json.dumps(found).encode()


STAMP = b"2023-11-14T22:13:20.000001000Z"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (record("one"), STAMP + b" stdout F one\n"),
        (record("é", PRIORITY="3"), STAMP + " stderr F é\n".encode()),
        (record([255, 0]), STAMP + b" stdout F \xff\0\n"),
        (record("", CONTAINER_PARTIAL_MESSAGE="true"), STAMP + b" stdout P \n"),
        (record("one", PRIORITY="5"), b""),
        (record(None), b""),
        (record([300]), b""),
        (b"", b""),
        (b"-- no entries --", b""),
        (b"[]", b""),
    ],
)
def test_lines(text, line):
    assert journal_logs._line(text) == line


@pytest.mark.parametrize(
    ("last", "follow", "words"),
    [
        (None, False, []),
        (None, True, ["--no-tail", "--follow"]),
        (3, False, ["--lines=3"]),
        (0, True, ["--lines=0", "--follow"]),
    ],
)
def test_what_journalctl_is_asked(last, follow, words):
    command = journal_logs._command(Wanted(ID, ["stderr"], last), follow=follow)
    assert command[0] == "journalctl"
    assert command[6:] == [*words, f"CONTAINER_ID_FULL={ID}", "PRIORITY=3"]
