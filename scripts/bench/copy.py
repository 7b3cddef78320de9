"""``cp`` of one file of 200 MB and of 5,000 small ones, into a running container and out of it."""

from __future__ import annotations

import os
import shutil
from functools import partial
from typing import TYPE_CHECKING

from scripts.bench.harness import check_run, interleave, report
from scripts.bench.peers import COLD, DOCKER, IMAGE, WARM, Peer
from scripts.bench.verdicts import Budget

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scripts.bench.bench import Bench

MEGABYTES = 200
FILES = 5000
DIRECTORIES = 50
SMALL_BYTES = 2000
BOX = "copied"
LARGE = (Budget(WARM, {DOCKER: 0.5}), Budget(COLD, {DOCKER: 0.5}))
MANY_IN = (Budget(WARM, {DOCKER: 0.6}), Budget(COLD, {DOCKER: 0.6}))
MANY_OUT = (Budget(WARM, {DOCKER: 0.4}), Budget(COLD, {DOCKER: 0.4}))


def measure(bench: Bench) -> None:
    """Each copy goes to a fresh place, which is removed again; beside plain ``cp -a``."""
    rounds = bench.choose(9, 3)
    large, many = _sources(bench.scratch / "copy")
    for peer in bench.found.values():
        if peer.name != COLD:
            peer.run("run", "-d", "--name", BOX, "--network", "none", IMAGE, "sleep", "100000")
            peer.run("cp", str(large), f"{BOX}:/large")
            peer.run("cp", str(many), f"{BOX}:/many")
    _in(bench, large, f"cp {MEGABYTES} MB in", rounds, LARGE)
    _out(bench, large, f"cp {MEGABYTES} MB out", rounds, LARGE)
    _in(bench, many, f"cp {FILES} files in", rounds, MANY_IN)
    _out(bench, many, f"cp {FILES} files out", rounds, MANY_OUT)
    bench.clear()
    shutil.rmtree(bench.scratch / "copy")


def _sources(directory: Path) -> tuple[Path, Path]:
    """What is copied, in memory by now."""
    large, many = directory / "large", directory / "many"
    directory.mkdir()
    piece = os.urandom(1 << 20)
    with large.open("wb") as file:
        for _ in range(MEGABYTES * 1_000_000 // len(piece)):
            file.write(piece)
    for number in range(FILES):
        name = many / str(number % DIRECTORIES) / f"file-{number}"
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_bytes(piece[:SMALL_BYTES])
    check_run(["sync"])
    return large, many


def _in(
    bench: Bench, source: Path, title: str, rounds: int, budgets: tuple[Budget, ...]
) -> None:
    actions: dict[str, Callable[[], object]] = {}
    undo: dict[str, Callable[[], object]] = {}
    for peer in bench.found.values():
        actions[peer.name] = partial(peer.run, "cp", str(source), f"{BOX}:/tmp/copy")
        undo[peer.name] = partial(peer.run, "exec", BOX, "rm", "-r", "/tmp/copy")  # noqa: S108
    _beside_cp(bench, source, actions, undo)
    report(title, interleave(actions, rounds, undo=undo, warm_up=1), budgets)


def _out(
    bench: Bench, source: Path, title: str, rounds: int, budgets: tuple[Budget, ...]
) -> None:
    actions: dict[str, Callable[[], object]] = {}
    undo: dict[str, Callable[[], object]] = {}
    for peer in bench.found.values():
        target = bench.scratch / "copy" / f"out-{peer.name.replace(' ', '-')}"
        actions[peer.name] = partial(_get, peer, source.name, target)
        undo[peer.name] = partial(check_run, ["rm", "-r", str(target)])
    _beside_cp(bench, source, actions, undo)
    report(title, interleave(actions, rounds, undo=undo, warm_up=1), budgets)


def _get(peer: Peer, name: str, target: Path) -> None:
    peer.run("cp", f"{BOX}:/{name}", str(target))


def _beside_cp(
    bench: Bench,
    source: Path,
    actions: dict[str, Callable[[], object]],
    undo: dict[str, Callable[[], object]],
) -> None:
    target = str(bench.scratch / "copy" / "plain")
    actions["cp -a"] = partial(check_run, ["cp", "-a", str(source), target])
    undo["cp -a"] = partial(check_run, ["rm", "-r", target])
