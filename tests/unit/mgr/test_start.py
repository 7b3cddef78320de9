"""What a start that fails tells operators."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import Any

import pytest

from runengine.errors import RuntimeFailed, Unavailable
from runengine.mgr.container import start
from runengine.paths import Paths

CONTEXT: Any = SimpleNamespace(paths=Paths("/var/here", "/run/here"))
RECORD: Any = SimpleNamespace(name="web", host_config={"SecurityOpt": []})
FAILURE = RuntimeFailed("unable to store init state: %!w(<nil>)")


@pytest.mark.parametrize("full", ["/run/here", "/var/here"])
def test_a_runtime_without_room_has_no_words_for_it(
    monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    room = {full: 3}
    monkeypatch.setattr(
        os,
        "statvfs",
        lambda path: SimpleNamespace(f_blocks=99, f_frsize=4096, f_bavail=room.get(path, 50)),
    )
    error = start._explained(CONTEXT, RECORD, FAILURE)
    assert isinstance(error, Unavailable)
    assert f"cannot start container web: {full}: No space left on device" in str(error)
    assert str(FAILURE) in str(error)


@pytest.mark.parametrize("blocks", [99, 0])  # 0: a file system that knows no sizes
def test_other_failures_are_the_runtimes_own(
    monkeypatch: pytest.MonkeyPatch, blocks: int
) -> None:
    system = SimpleNamespace(f_blocks=blocks, f_frsize=4096, f_bavail=blocks)
    monkeypatch.setattr(os, "statvfs", lambda _: system)
    assert start._explained(CONTEXT, RECORD, FAILURE) is FAILURE


def test_the_systems_errors_name_the_file() -> None:
    error = start._explained(CONTEXT, RECORD, OSError(errno.EROFS, "Read-only", "/run/here/x"))
    assert "cannot start container web: /run/here/x: Read-only" in str(error)


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.EMFILE, "ulimit -n"), (errno.EAGAIN, "pids.max"), (errno.ENOSPC, "have room")],
)
def test_the_hint_is_for_what_there_is_too_little_of(number: int, hint: str) -> None:
    assert hint in str(start._explained(CONTEXT, RECORD, OSError(number, os.strerror(number))))
