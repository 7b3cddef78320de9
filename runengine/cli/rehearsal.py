"""What most calls do, done before there is a call, on a scratch engine that nobody sees.

The interpreter adapts its code at first use (PEP 659), caches are filled, and a forked child pays
for every page of memory that it writes to first, about 2,000 in a call and 6 ms. The launcher
rehearses before it forks anybody, and the worker that waits for a call once for itself.
"""

from __future__ import annotations

import io
import os
import time
from contextlib import redirect_stderr, redirect_stdout, suppress
from typing import TYPE_CHECKING

from runengine.cgroups import layout
from runengine.cli.context import App
from runengine.errors import EngineError
from runengine.linux import kernel
from runengine.mgr.container.context import discard_directory
from runengine.mgr.engine import Engine
from runengine.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 8
"""The interpreter adapts a function at its eighth call."""
ENOUGH_S = 1.0
"""Of a processor's time, where 0.2 is usual: a slow machine has its service before all rounds."""
_IMAGE = "rehearsal"
_ABSENT = "rehearsal:absent"
"""What begins a container must end here at once: nothing is started for a rehearsal."""
_DIGEST = f"sha256:{'0' * 64}"
_CONFIG = '{"architecture": "", "os": "linux", "config": {"Cmd": ["true"]}}'


class Rehearsal:
    """Calls on an engine below ``directory``, which holds nothing but an image without layers."""

    def __init__(self, directory: str) -> None:
        self._paths = Paths(f"{directory}/root", f"{directory}/state")
        self._directory = directory

    def prepare(self) -> None:
        """Make the engine anew, and play until the interpreter knows the piece."""
        with suppress(EngineError):  # a disk that is full makes calls no worse than slower
            self._set_up()
        enough = time.process_time() + ENOUGH_S
        for _ in range(ROUNDS):
            self.play(lambda: True)
            if time.process_time() > enough:
                break

    def _set_up(self) -> None:
        discard_directory(self._directory)
        with Engine.open(self._paths) as engine:
            engine.store.images.put_image(
                _DIGEST, _DIGEST, config=_CONFIG, layers=[], size_bytes=0, media_type=""
            )
            engine.images.tag(_DIGEST, _IMAGE)

    def play(self, goes_on: Callable[[], bool]) -> None:
        """Play once, as far as ``goes_on`` says."""
        name = f"rehearsal-{os.getpid()}"
        app = App()
        for command in (
            ["ps", "--all"],
            ["run", "--rm", "--pull", "never", _ABSENT, "true"],
            ["create", "--name", name, "--network", "none", _IMAGE, "true"],
            ["exec", name, "true"],
            ["rm", name],
        ):
            if goes_on():
                self._run(app, command)
        app.close()
        with suppress(OSError):
            os.truncate(self._paths.journal, 0)
        # What the call's own process must find out for itself.
        kernel.forget()
        layout.forget()

    def _run(self, app: App, command: list[str]) -> None:
        """Run a command line that says nothing; its failure costs us the gain, nothing else."""
        from runengine.cli import main

        where = ["--root", self._paths.root, "--state", self._paths.state]
        quiet = io.TextIOWrapper(io.BytesIO())
        with redirect_stdout(quiet), redirect_stderr(quiet):
            main.run([*where, *command], app)
