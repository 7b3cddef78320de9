"""The program as users run it, on an engine of a test's own with a busybox image."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.paths import Paths
from runengine.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = Path(__file__).parents[2]
TIMEOUT_S = 600 if "RUNENGINE_GUEST" in os.environ else 60
"""Of one command; in the emulated guest everything takes longer."""
FRONT = (
    f"import sys; sys.path += {[str(REPOSITORY), sysconfig.get_path('purelib')]!r};"
    " from runengine.front import main; main()"
)
"""As ``scripts/install`` writes it: without the site module, half of what a warm call takes."""


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class CommandLine:
    """One engine's directories; calls the command line in processes of their own."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self.state = directory / "state"
        self.config = directory / "config.json"
        # Of its own, so that the host's settings make no difference. Tests that are about networks
        # name theirs.
        self.config.write_text('{"default_network": "none"}')

    @property
    def environment(self) -> dict[str, str]:
        """What a command runs with."""
        return {
            **os.environ,
            "RUNENGINE_ROOT": str(self.root),
            "RUNENGINE_STATE": str(self.state),
            "RUNENGINE_CONFIG": str(self.config),
            "PYTHONPATH": str(REPOSITORY),
        }

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """The command line of ``runengine ARGUMENTS``."""
        return [sys.executable, "-m", "runengine.cli.main", *arguments]

    def close(self) -> None:
        """Remove every container and volume."""
        self.clear()

    def call(self, *arguments: str, stdin: bytes | None = None, **options: Any) -> Done:
        """Run to the end; without ``stdin`` it is empty."""
        done = subprocess.run(
            self.command(*arguments),
            env=options.pop("env", self.environment),
            input=stdin if stdin is not None else b"",
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            **options,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def ok(self, *arguments: str, stdin: bytes | None = None) -> str:
        """Run what must succeed without a word on stderr; its output without the last newline."""
        done = self.call(*arguments, stdin=stdin)
        assert done.code == 0, done
        assert done.err == "", done
        return done.out.removesuffix("\n")

    def begin(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a command; the caller waits for it."""
        options = {"stdin": subprocess.DEVNULL, **options}
        return subprocess.Popen(self.command(*arguments), env=self.environment, **options)

    def names(self, *filters: str) -> Sequence[str]:
        """Names of the containers there are, running or not."""
        words = [word for text in filters for word in ("--filter", text)]
        return self.ok("ps", "-a", "--format", "{{.Names}}", *words).split()

    def is_empty(self) -> bool:
        """Whether no container is left, by no command's doing: it removes what is to go, too."""
        return not os.listdir(self.root / "containers")

    def state_of(self, name: str) -> str:
        """A container's status."""
        return self.ok("inspect", "--format", "{{.State.Status}}", name)

    def clear(self) -> None:
        """Remove every container and volume."""
        # Most tests leave none: to learn that should not take a process.
        with closing(Store.open(Paths(str(self.root), str(self.state)))) as store:
            containers, volumes = store.containers.ids(), store.volumes.names()
        if containers:
            self.call("rm", "-f", *containers)
        if volumes:
            self.call("volume", "rm", *volumes)


class WarmCommandLine(CommandLine):
    """The same with a service: a call that would run cold fails instead."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.log = directory / "service.log"
        self.service = self.serve()

    @property
    def environment(self) -> dict[str, str]:
        """What a command runs with."""
        return {**super().environment, "RUNENGINE_LAUNCHER": "require"}

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """The command line of ``runengine ARGUMENTS``."""
        return [sys.executable, "-I", "-S", "-c", FRONT, *arguments]

    def serve(self, *options: str) -> subprocess.Popen[bytes]:
        """Start the service and wait until it is ready."""
        # By name, so that a process of it that stays behind is known for this run's.
        where = ["--root", str(self.root), "--state", str(self.state)]
        with self.log.open("ab") as log:
            service = subprocess.Popen(
                self.command(*where, "serve", *options),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.await_service(service)
        return service

    def await_service(self, service: subprocess.Popen[bytes]) -> None:
        """Wait until it answers calls."""
        deadline = time.monotonic() + TIMEOUT_S
        while self.call("ps", "-q").code:
            assert service.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def close(self) -> None:
        """Remove everything, end the service; it must have had nothing to complain of."""
        self.clear()
        self.service.terminate()
        self.service.wait(TIMEOUT_S)
        assert "Traceback" not in self.log.read_text()
