"""Who owns what of a cgroup that is given away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runengine.cgroups import delegation

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("listed", "given"),
    [
        ("cgroup.procs\nmemory.reclaim\nmissing\n", {"", "cgroup.procs", "memory.reclaim"}),
        (None, {"", "cgroup.procs"}),
    ],
)
def test_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str | None, given: set[str]
):
    group = tmp_path / "runengine/x"
    group.mkdir(parents=True)
    for name in ("cgroup.procs", "memory.reclaim", "memory.max"):
        (group / name).touch()
    if listed is not None:
        (tmp_path / "delegate").write_text(listed)
    owners: dict[str, tuple[int, int]] = {}

    def chown(path: str, uid: int, gid: int) -> None:
        if path.endswith(("missing", "control", "threads")):
            raise FileNotFoundError(path)
        owners[path] = (uid, gid)

    monkeypatch.setattr("os.chown", chown)
    delegation.give(str(group), 7, 8, listed=str(tmp_path / "delegate"))
    assert owners == {f"{group}/{name}".rstrip("/"): (7, 8) for name in given}


def test_what_is_missing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.chown", lambda *_: None)
    delegation.give(str(tmp_path / "runengine/x"), 7, 8)
    assert (tmp_path / "runengine/x").is_dir()
