"""The wait for a restart, with a loop that only notes what is due."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from runengine.monitor import pending, wire

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("is_there", [True, False])
def test_nobody_waits_for_a_container_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_there: bool
) -> None:
    """It was removed before its process could say that it waits: nobody called that off."""
    delays: list[float] = []
    loop: Any = SimpleNamespace(later=lambda seconds, _: delays.append(seconds))
    monkeypatch.setattr(pending, "signal", SimpleNamespace(signal=lambda *_: None, SIGTERM=15))
    directory = tmp_path / "container"
    if is_there:
        directory.mkdir()
    reports: list[str] = []
    programs: Any = None
    waiting = pending.Pending(
        loop,
        programs,
        str(directory),
        ["true"],
        60.0,
        done=lambda: None,
        report=reports.append,
    )
    waiting.begin()
    assert [delay > 0 for delay in delays] == [is_there]
    assert (directory / wire.RESTART_NAME).exists() is is_there
    assert reports == []
