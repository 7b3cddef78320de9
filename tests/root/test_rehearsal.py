"""The rehearsal of calls: it leaves nothing, says nothing and never fails anybody."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from runengine import Engine
from runengine.cgroups import layout
from runengine.cli.rehearsal import ENOUGH_S, ROUNDS, Rehearsal
from runengine.linux import kernel
from runengine.paths import Paths
from tests.support import needs

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, needs("runc")]


def always() -> bool:
    return True


def scratch_paths(directory: Path) -> Paths:
    return Paths(f"{directory}/root", f"{directory}/state")


@pytest.fixture
def rehearsal(tmp_path: Path) -> Rehearsal:
    prepared = Rehearsal(f"{tmp_path}/scratch")
    prepared.prepare()
    return prepared


def test_it_leaves_no_container_and_no_words(
    rehearsal: Rehearsal, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    rehearsal.play(always)
    where = scratch_paths(tmp_path / "scratch")
    with Engine.open(where) as engine:
        assert engine.containers.list(all=True) == []
    assert list((tmp_path / "scratch/root/containers").iterdir()) == []
    assert list((tmp_path / "scratch/state/containers").iterdir()) == []
    assert (tmp_path / "scratch/root/events/journal.jsonl").read_bytes() == b""
    assert capfd.readouterr() == ("", "")


def test_it_plays_what_calls_do(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch):
    """A rehearsal whose commands fail early would gain nothing, and nobody would notice."""
    from runengine.cli import main

    codes: dict[str, int] = {}

    def run(args: list[str], app: object) -> int:
        code = real(args, app)  # type: ignore[arg-type]
        codes[args[4]] = code
        return code

    real = main.run
    monkeypatch.setattr(main, "run", run)
    rehearsal.play(always)
    # Nothing is started: run and exec end where the process would come.
    assert codes == {"ps": 0, "run": 125, "create": 0, "exec": 125, "rm": 0}


def test_it_stops_when_told(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch):
    from runengine.cli import main

    def refuse(*_: object) -> int:
        raise AssertionError("a command although it was to stop")

    monkeypatch.setattr(main, "run", refuse)
    rehearsal.play(lambda: False)


def test_what_a_process_looks_up_for_itself_is_forgotten(rehearsal: Rehearsal):
    kernel.probe()
    layout.detect()
    rehearsal.play(always)
    assert kernel._cached is None
    assert layout._cached is None


def test_a_slow_host_has_its_service_before_all_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    slow = Rehearsal(f"{tmp_path}/scratch")
    used = itertools.count(0.0, ENOUGH_S * 0.4)
    monkeypatch.setattr("runengine.cli.rehearsal.time.process_time", lambda: next(used))
    played: list[object] = []
    monkeypatch.setattr(slow, "play", played.append)
    slow.prepare()
    assert len(played) == 3 < ROUNDS


def test_a_disk_that_fails_fails_nobody(tmp_path: Path):
    (tmp_path / "file").touch()
    rehearsal = Rehearsal(f"{tmp_path}/file/scratch")
    rehearsal.prepare()
    rehearsal.play(always)


def test_what_an_earlier_service_left_goes(tmp_path: Path):
    left = tmp_path / "scratch/root"
    left.mkdir(parents=True)
    (left / "state.db").write_text("no database")
    rehearsal = Rehearsal(f"{tmp_path}/scratch")
    rehearsal.prepare()
    with Engine.open(scratch_paths(tmp_path / "scratch")) as engine:
        assert [image.image_id for image in engine.store.images.all()] != []
