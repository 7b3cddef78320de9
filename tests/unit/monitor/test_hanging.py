"""When a runtime that takes long is given up, and why."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from runengine.monitor import hanging
from runengine.monitor.hanging import Look
from runengine.monitor.loop import UNSTARTED

if TYPE_CHECKING:
    from collections.abc import Callable

    Seen = dict[int, tuple[str, bytes, int]]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[[Seen], None]:
    """Have the runtime, pid 1, and its children be so: name, state, number of threads."""

    def show(seen: Seen) -> None:
        def stat_fields(pid: int) -> tuple[str, list[bytes]]:
            name, state, threads = seen[pid]
            return name, [state, *[b"0"] * 16, b"%d" % threads]

        monkeypatch.setattr(hanging, "stat_fields", stat_fields)
        monkeypatch.setattr(hanging, "process_name", lambda pid: seen[pid][0])
        monkeypatch.setattr(hanging, "children", lambda _: [pid for pid in seen if pid != 1])

    return show


def told(look: Look) -> str | None:
    """What two looks come to."""
    assert look() is None
    failure = look()
    return failure.brief if failure else None


def test_one_that_works_has_its_time(shown) -> None:
    shown({1: ("runc", b"S", 7), 2: (UNSTARTED, b"S", 5)})
    assert told(Look(1, time.monotonic())) is None


def test_an_init_whose_first_thread_is_killed_never_becomes_the_program(shown) -> None:
    shown({1: ("runc", b"S", 7), 2: (UNSTARTED, b"Z", 5)})
    assert "seccomp profile" in str(told(Look(1, time.monotonic())))


def test_an_init_that_is_just_ending_is_no_such_thing(shown) -> None:
    look = Look(1, time.monotonic())
    shown({1: ("runc", b"S", 7), 2: (UNSTARTED, b"Z", 5)})
    assert look() is None
    shown({1: ("runc", b"S", 7)})
    assert look() is None


@pytest.mark.parametrize("pid", [1, 2])
def test_one_that_is_stopped_is_named(shown, pid) -> None:
    seen = {1: ("runc", b"S", 7), 2: ("hook", b"S", 1)}
    shown({**seen, pid: (seen[pid][0], b"T", 1)})
    assert told(Look(1, time.monotonic())) == (
        f"somebody has stopped the runtime: {seen[pid][0]} (pid {pid})"
    )


def test_after_a_while_it_hangs_and_what_it_waits_for_is_said(shown) -> None:
    shown({1: ("runc", b"S", 7), 2: ("hook", b"S", 1)})
    failure = Look(1, time.monotonic() - hanging.LIMIT_S - 1)()
    assert failure is not None
    assert (failure.brief, failure.resolution) == (
        "the runtime has not finished within 100 s", "it waited for hook (pid 2)",
    )  # fmt: skip
