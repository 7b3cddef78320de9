"""What CRIU's files tell, and what it is told."""

from __future__ import annotations

import pytest

from runengine.errors import NotFound, RuntimeFailed, Unavailable
from runengine.runtime import criu, runc

FAILED = RuntimeFailed("criu failed")
HEAD = bytes(12)


def test_the_first_error_is_the_cause():
    log = (
        b"(00.000100) Warn  (criu/a.c:1): nothing\n"
        b"(00.085415) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: no\n"
        b"(00.210122) Error (criu/files-reg.c:1790): Can't lookup mount=94 for fd=1 path=/out\n"
        b"(00.210140)    12: Error (criu/cr-dump.c:1545): Dump files failed with -1\n"
    )
    told = criu.explained(FAILED, log)
    assert told.brief == "criu: Can't lookup mount=94 for fd=1 path=/out"
    assert told.details == "Dump files failed with -1"


@pytest.mark.parametrize("log", [b"", b"\xff\x00", b"(00.1) Dumping finished successfully\n"])
def test_without_a_cause_the_runtimes_words_stay(log):
    assert criu.explained(FAILED, log) is FAILED


def test_what_is_no_failure_of_its_own_stays():
    error = NotFound("container does not exist")
    assert criu.explained(error, b"(0.1) Error (a.c:1): x\n") is error


def test_statistics_are_read():
    dump = bytes.fromhex("08e807" "10ac02" "2805")
    assert criu.statistics(HEAD + b"\x0a" + bytes([len(dump)]) + dump) == {
        "freezing_time": 1000,
        "frozen_time": 300,
        "pages_scanned": 5,
    }
    restore = bytes.fromhex("2090a10f" "78" "01")
    found = criu.statistics(HEAD + b"\x12" + bytes([len(restore)]) + restore)
    assert found == {"restore_time": 250000}


@pytest.mark.parametrize(
    "image", [b"", HEAD, HEAD + b"\x0a", HEAD + b"\x0a\x02\x08\xff", b"\xff" * 40]
)
def test_damaged_statistics_are_none(image):
    assert criu.statistics(image) == {}


def test_the_network_is_locked_by_what_is_there(monkeypatch):
    monkeypatch.setattr(runc, "find", lambda program: f"/sbin/{program}")
    assert criu.settings() == b""
    criu.require()
    monkeypatch.setattr(runc, "find", absent)
    assert criu.settings() == b"network-lock nftables\n"
    with pytest.raises(Unavailable, match="apt-get install criu"):
        criu.require()


def absent(program):
    raise Unavailable(f"{program} not found")
