"""Several pytests at once over one selection of tests, as one: what ``scripts/test`` runs.

``python -m tests.support.lanes [--lanes N] [--apart] [--again] RESULTS NAME PYTEST ARGUMENT...``
leaves a report of each in RESULTS and says on its output what each said, one after the other.
``--apart``: each in surroundings of its own (``scripts/lane``). ``--again``: one after the other,
each what failed in it at first.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.support.shares import ENDED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REPOSITORY = Path(__file__).parents[2]
PROGRESS_S = 30.0
PASSED, FAILED, INTERRUPTED, NO_TESTS = 0, 1, 2, 5
"""Exit codes of pytest."""


class Selection(NamedTuple):
    """What to run, and where."""

    name: str
    results: Path
    arguments: Sequence[str]
    is_apart: bool
    lanes: int

    def command(self, lane: int, report: str, *options: str) -> list[str]:
        """A lane's pytest."""
        surroundings = [str(REPOSITORY / "scripts/lane")] if self.is_apart else []
        cache = self.results / f"cache-{self.name}-{lane}"
        return [
            *(*surroundings, sys.executable, "-m", "pytest", "-p", "tests.support.shares"),
            *("-o", f"cache_dir={cache}", "--junitxml", str(self.results / f"{report}.xml")),
            *(*options, *self.arguments),
        ]


class Lane:
    """One of several that run at once."""

    def __init__(self, selection: Selection, number: int, shares: Path) -> None:
        self.log = selection.results / f"{selection.name}-{number}.log"
        options = ["--shares", shares, "--lane", number, "--lanes", selection.lanes]
        command = selection.command(number, f"{selection.name}-{number}", *map(str, options))
        with self.log.open("wb") as output:
            # In a session of its own, so that a ^C comes to it from us alone.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip

    def end(self) -> None:
        """However far it is."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()


@contextlib.contextmanager
def running(selection: Selection, shares: Path) -> Iterator[list[Lane]]:
    """All lanes; none of them outlives the block."""
    lanes: list[Lane] = []
    try:
        for number in range(selection.lanes):
            lanes.append(Lane(selection, number, shares))  # noqa: PERF401 - begun ones must end
        yield lanes
    finally:
        for lane in lanes:
            lane.end()


def together(selection: Selection) -> int:
    """Run all lanes at once; pytest's exit code for all of them."""
    if selection.lanes == 1:
        command = selection.command(0, f"{selection.name}-0")
        os.execv(command[0], command)
    with (
        tempfile.TemporaryDirectory(prefix="runengine-shares-") as shares,
        running(selection, Path(shares)) as lanes,
    ):
        try:
            wait(selection, lanes, Path(shares) / ENDED)
            codes = [lane.process.returncode for lane in lanes]
        except KeyboardInterrupt:
            codes = [INTERRUPTED]
    for number, lane in enumerate(lanes):
        tell(f"{selection.name}, lane {number + 1} of {len(lanes)}:")
        sys.stdout.write(lane.log.read_text(errors="replace"))
    return merged(codes)


def wait(selection: Selection, lanes: list[Lane], ended: Path) -> None:
    """Until all have ended; says now and then how far they are."""
    began = told = time.monotonic()
    for lane in lanes:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                lane.process.wait(1.0)
                break
            if time.monotonic() - told >= PROGRESS_S:
                told = time.monotonic()
                count = ended.stat().st_size if ended.exists() else 0
                tell(f"{selection.name}: {count} tests in {told - began:.0f} s")


def again(selection: Selection) -> int:
    """Run what failed, lane by lane; pytest's exit code for all of them."""
    codes = []
    for lane in range(selection.lanes):
        failed = selection.results / f"cache-{selection.name}-{lane}/v/cache/lastfailed"
        if failed.exists():
            command = selection.command(lane, f"{selection.name}-again-{lane}", "--last-failed")
            codes.append(subprocess.call(command))
    return merged(codes)


def merged(codes: list[int]) -> int:
    """One exit code; a lane that found nothing left to do is none that failed."""
    bad = [code for code in codes if code not in (PASSED, FAILED, NO_TESTS)]
    if bad:
        return bad[0]
    if FAILED in codes:
        return FAILED
    return NO_TESTS if codes and all(code == NO_TESTS for code in codes) else PASSED


def tell(text: str) -> None:
    """A line at once."""
    print(text, flush=True)


def main() -> int:
    """As the module says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--lanes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("results", type=Path)
    parser.add_argument("name")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    found = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    selection = Selection(
        found.name, found.results, found.arguments, found.apart, max(found.lanes, 1)
    )
    try:
        return again(selection) if found.again else together(selection)
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
