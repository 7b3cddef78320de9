"""Kills for want of memory, as a scope's memory.events tells of them."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Any

import pytest

from runengine.monitor.memory import MemoryWatch

if TYPE_CHECKING:
    from pathlib import Path

NONE, ONE = "low 0\noom 0\noom_kill 0\n", "low 0\noom 1\noom_kill 1\n"


class Loop:
    """Only remembers what is watched."""

    def __init__(self) -> None:
        self.handlers: dict[int, Any] = {}

    def watch(self, fd, mask, handler):
        assert mask == select.POLLPRI
        self.handlers[fd] = handler

    def forget(self, fd):
        self.handlers.pop(fd, None)


@pytest.fixture
def scope(tmp_path: Path) -> Path:
    directory = tmp_path / "runengine-1.scope"
    directory.mkdir()
    (directory / "memory.events").write_text(NONE)
    return directory


def test_what_was_seen_outlives_the_control_group(scope: Path) -> None:
    loop: Any = Loop()
    watch = MemoryWatch(loop, {"unified": str(scope)})
    assert watch.oom_kills == 0
    (scope / "memory.events").write_text(ONE)
    ((fd, handler),) = loop.handlers.items()
    handler(select.POLLPRI)
    assert watch.oom_kills == 1
    (scope / "memory.events").write_text("")  # as little as a removed one says
    handler(select.POLLPRI)
    watch.close()
    watch.close()
    assert (watch.oom_kills, loop.handlers) == (1, {})
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_control_group_that_is_gone_is_left_alone(scope: Path, monkeypatch) -> None:
    loop: Any = Loop()
    watch = MemoryWatch(loop, {"unified": str(scope)})

    def gone(*_):
        raise OSError(19, "No such device")

    monkeypatch.setattr(os, "pread", gone)
    watch.look()
    assert (watch.oom_kills, loop.handlers) == (0, {})
    watch.look()


def test_only_systemds_are_watched(scope: Path, tmp_path: Path) -> None:
    loop: Any = Loop()
    (scope / "memory.events").rename(tmp_path / "memory.events")
    for directories in ({"unified": str(tmp_path)}, {"unified": str(scope)}, {}):
        watch = MemoryWatch(loop, directories)
        watch.look()
        watch.close()
        assert (watch.oom_kills, loop.handlers) == (None, {})
