"""When a container is probed and what the results mean, without a container."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.monitor import cgroup, health, journal, wire
from runengine.monitor.health import Health, Verdict
from runengine.monitor.probe import OUTPUT_LIMIT, Output

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runengine.monitor.protocol import HealthSpec


def spec(**changes: Any) -> HealthSpec:
    made: HealthSpec = {
        "process": {"args": ["true"]},
        "interval_s": 30.0,
        "timeout_s": 7.0,
        "timeout_text": "7s",
        "retries": 3,
        "start_period_s": 0.0,
        "start_interval_s": 5.0,
        "path": "/nowhere",
    }
    made.update(changes)  # type: ignore[typeddict-item]
    return made


# What a series of results says


@pytest.mark.parametrize(
    ("codes", "statuses", "streak"),
    [
        ([], [], 0),
        ([0], ["healthy"], 0),
        ([1, 1], ["starting", "starting"], 2),
        ([1, 1, 1], ["starting", "starting", "unhealthy"], 3),
        ([1, 0, 2, -1], ["starting", "healthy", "healthy", "healthy"], 2),
        ([0, 1, 1, 1, 0], ["healthy", "healthy", "healthy", "unhealthy", "healthy"], 0),
        ([1, 1, 1, 1, 1], ["starting", "starting", "unhealthy", "unhealthy", "unhealthy"], 5),
    ],
)
def test_three_failures_in_a_row(codes: list[int], statuses: list[str], streak: int) -> None:
    verdict, seen = Verdict(spec()), []
    for code in codes:
        verdict.judge(code, 1.0)
        seen.append(verdict.status)
    assert (seen, verdict.failing_streak) == (statuses, streak)


def test_failures_in_the_start_period_do_not_count() -> None:
    verdict = Verdict(spec(start_period_s=10, retries=1))
    assert not verdict.judge(1, 9.9)
    assert (verdict.status, verdict.failing_streak) == ("starting", 0)
    assert verdict.judge(1, 10)
    assert verdict.status == "unhealthy"


def test_the_first_success_ends_the_start_period() -> None:
    verdict = Verdict(spec(start_period_s=10, retries=1))
    verdict.judge(0, 1)
    verdict.judge(1, 2)
    assert verdict.status == "unhealthy"


@pytest.mark.parametrize(
    ("code", "age_s", "wait_s"), [(None, 0, 5), (1, 9, 5), (1, 10, 30), (0, 2, 30)]
)
def test_the_start_interval_is_for_the_start_period(
    code: int | None, age_s: float, wait_s: float
) -> None:
    verdict = Verdict(spec(start_period_s=10))
    if code is not None:
        verdict.judge(code, age_s)
    assert verdict.wait_s(age_s) == wait_s


def test_without_a_start_period_there_is_no_start_interval() -> None:
    assert Verdict(spec()).wait_s(0) == 30


@given(st.lists(st.integers(-1, 2)), st.integers(1, 5))
def test_only_changes_of_the_status_are_told(codes: list[int], retries: int) -> None:
    verdict = Verdict(spec(retries=retries))
    for code in codes:
        before = verdict.status
        assert verdict.judge(code, 0) is (verdict.status != before)
        assert (verdict.failing_streak == 0) is (code == 0)
        assert (verdict.status == "unhealthy") >= (verdict.failing_streak >= retries)


# Output


@given(st.lists(st.binary(max_size=3000)))
def test_output_is_kept_to_a_limit(chunks: list[bytes]) -> None:
    output, whole = Output(), b"".join(chunks)
    for chunk in chunks:
        output.write("stdout", chunk)
    dots = "..." if len(whole) > OUTPUT_LIMIT else ""
    assert output.text() == whole[:OUTPUT_LIMIT].decode(errors="replace") + dots


# One container, with a made-up clock and made-up probes


class FakeTimer:
    def __init__(self, seconds: float, action: Callable[[], None]) -> None:
        self.seconds = seconds
        self.action = action
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """A container whose time, probes and freezer a test moves by hand."""

    def __init__(self, path: str, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
        self.now_s = 1000.0
        self.frozen = False
        self.exiting = False
        self.timers: list[FakeTimer] = []
        self.probes: list[FakeProbe] = []
        self.events: list[str] = []
        self.notes: list[str] = []
        self.path = path
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(cgroup, "is_frozen", lambda _: self.frozen)
        monkeypatch.setattr(health, "is_exiting", lambda _: self.exiting)
        monkeypatch.setattr(health, "Probe", self.make_probe)
        monkeypatch.setattr(journal, "note", lambda _, action, __: self.events.append(action))
        job: Any = {"id": "x", "cgroup": {}}
        loop: Any = self
        programs: Any = None
        self.health = Health(
            loop, programs, job, spec(path=path, **changes), 1, self.notes.append
        )
        self.health.begin()

    def later(self, seconds: float, action: Callable[[], None]) -> FakeTimer:
        self.timers.append(FakeTimer(seconds, action))
        return self.timers[-1]

    def make_probe(self, *arguments: Any) -> FakeProbe:
        self.probes.append(FakeProbe(*arguments[-2:]))
        return self.probes[-1]

    @property
    def due(self) -> list[FakeTimer]:
        return [timer for timer in self.timers if not timer.cancelled]

    def fire(self) -> float:
        """Run the one timer that is set; how long it was."""
        (timer,) = self.due
        self.timers.clear()
        self.now_s += timer.seconds
        timer.action()
        return timer.seconds

    def probe(self, exit_code: int, output: str = "") -> None:
        """Until the next probe, and that to its end."""
        self.fire()
        self.probes[-1].result(exit_code, output)
        self.probes[-1].gone()

    def written(self) -> dict[str, Any]:
        with open(self.path, "rb") as file:
            return wire.loads(file.read())


class FakeProbe:
    def __init__(self, result: Callable[[int, str], None], gone: Callable[[], None]) -> None:
        self.result = result
        self.gone = gone
        self.cancelled = False

    def begin(self) -> None:
        pass

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(str(tmp_path / "health.json"), monkeypatch)


def test_it_begins_as_starting(world: World) -> None:
    assert world.written() == {"Status": "starting", "FailingStreak": 0, "Log": []}
    assert not world.probes


def test_the_log_has_the_last_five(world: World) -> None:
    for number in range(7):
        world.probe(number % 2, f"{number}")
    log = world.written()["Log"]
    assert [(entry["Output"], entry["ExitCode"]) for entry in log] == [
        ("2", 0), ("3", 1), ("4", 0), ("5", 1), ("6", 0)
    ]  # fmt: skip
    assert all(entry["Start"] <= entry["End"] for entry in log)


def test_an_event_for_each_transition_and_no_other(world: World) -> None:
    for code in (0, 0, 1, 1, 1, 1, 0):
        world.probe(code)
    assert world.events == [
        "health_status: healthy", "health_status: unhealthy", "health_status: healthy"
    ]  # fmt: skip


def test_the_interval_begins_when_the_last_probe_has_gone(world: World) -> None:
    assert world.fire() == 30
    world.now_s += 20
    world.probes[-1].result(0, "")
    world.probes[-1].gone()
    assert world.fire() == 30
    assert len(world.probes) == 2


def test_no_probe_while_paused(world: World) -> None:
    world.frozen = True
    assert [world.fire(), world.fire()] == [30, 30]
    assert not world.probes
    world.frozen = False
    world.fire()
    assert len(world.probes) == 1


@pytest.mark.parametrize("why", ["frozen", "exiting"])
@pytest.mark.parametrize(("code", "counted"), [(0, 1), (-1, 0), (137, 0)])
def test_what_fails_because_of_a_pause_or_the_end_does_not_count(
    world: World, code: int, counted: int, why: str
) -> None:
    world.fire()
    setattr(world, why, True)
    world.probes[-1].result(code, "")
    world.probes[-1].gone()
    assert len(world.written()["Log"]) == counted


def test_a_probe_that_does_not_die_fails_again_and_has_none_beside_it(world: World) -> None:
    world.fire()
    world.probes[-1].result(-1, "too long")
    world.fire()
    world.fire()
    assert (world.written()["Status"], world.written()["FailingStreak"]) == ("unhealthy", 3)
    assert len(world.probes) == 1
    world.probes[-1].gone()
    assert world.fire() == 30
    assert len(world.probes) == 2


def test_the_end_stops_everything(world: World) -> None:
    gone: list[str] = []
    world.fire()
    world.health.end()
    assert world.probes[-1].cancelled
    world.health.when_idle(lambda: gone.append("idle"))
    assert not gone
    world.probes[-1].gone()
    assert gone == ["idle"]
    assert not world.due


def test_the_end_between_two_probes(world: World) -> None:
    gone: list[str] = []
    world.probe(0)
    world.health.end()
    world.health.when_idle(lambda: gone.append("idle"))
    assert gone == ["idle"]
    assert not world.due


def test_a_process_that_runs_and_one_that_is_gone() -> None:
    assert not health.is_exiting(os.getpid())
    assert health.is_exiting(1 << 22)


def test_a_full_disk_is_noted_and_probing_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(str(tmp_path / "missing" / "health.json"), monkeypatch)
    world.probe(0)
    assert world.events == ["health_status: healthy"]
    assert len(world.notes) == 2
    assert len(world.due) == 1


@pytest.mark.side_effects
def test_a_monitor_loads_none_of_it_until_there_is_a_check() -> None:
    script = "import sys, runengine.monitor.main; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "runengine.monitor.container" in loaded
    assert not {"runengine.monitor.health", "runengine.monitor.probe"} & set(loaded)
