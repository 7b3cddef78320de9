"""Runs the OCI runtime's short commands for the engine: pause, resume, kill, delete, state."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from runengine import errors
from runengine.runtime import argv, messages

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_S = 30.0
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
PACKAGES = {"runc": "runc", "crun": "crun", "youki": "youki"}


def find(program: str, *, path: str = ENVIRONMENT["PATH"]) -> str:
    """Absolute path of the runtime's program. Raises Unavailable saying what to install."""
    candidates = [program] if "/" in program else [f"{d}/{program}" for d in path.split(":")]
    for candidate in candidates:
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):  # noqa: PTH112
            return os.path.abspath(candidate)  # noqa: PTH100
    package = PACKAGES.get(program)
    raise errors.Unavailable(
        f"{program} not found",
        details=None if "/" in program else f"looked in {path}",
        resolution=f"apt-get install {package}" if package else "check the runtime's path",
    )


class Runtime:
    """An OCI runtime with its global options, such as ``["/usr/sbin/runc", "--root", DIR]``."""

    def __init__(self, base: Sequence[str], *, timeout_s: float = TIMEOUT_S) -> None:
        self._base = list(base)
        self._timeout_s = timeout_s

    def pause(self, container_id: str) -> None:
        """Freeze. Raises RuntimeFailed, NotFound, TimedOut."""
        self._command(argv.simple(self._logged(), "pause", container_id))

    def resume(self, container_id: str) -> None:
        """Thaw. Raises RuntimeFailed, NotFound, TimedOut."""
        self._command(argv.simple(self._logged(), "resume", container_id))

    def kill(self, container_id: str, signal: int | str, *, everyone: bool = False) -> None:
        """Signal the init or every process. Raises RuntimeFailed, NotFound, TimedOut."""
        self._command(argv.kill(self._logged(), container_id, signal, everyone=everyone))

    def delete(self, container_id: str, *, force: bool = False) -> None:
        """Remove what the runtime keeps; with ``force`` a missing container is no error."""
        left = argv.restored_root(self._base, container_id)
        if os.path.lexists(left):
            from runengine.linux import mount

            mount.unmount(left)
        try:
            self._command(argv.delete(self._logged(), container_id, force=force))
        except errors.NotFound:
            if not force:
                raise

    def checkpoint(
        self,
        container_id: str,
        images: str,
        options: Sequence[str],
        *,
        settings: str,
        holding: int,
    ) -> None:
        """Write the processes to the directory ``images``, however long that takes.

        Even without us: ended half-way, criu would leave them in pieces. Until it has ended it
        has the descriptor ``holding``, a lock perhaps; ``settings`` is a file with criu's. Raises
        RuntimeFailed, NotFound.
        """
        command = argv.checkpoint(self._logged(), container_id, images, options=[*options])
        self._command(command, holding=holding, environment={argv.CRIU_SETTINGS: settings})

    def update(self, container_id: str, resources: dict[str, Any]) -> None:
        """Change limits (runtime-spec, config-linux.md#control-groups)."""
        self._command(argv.update(self._logged(), container_id), json.dumps(resources).encode())

    def state(self, container_id: str) -> dict[str, Any]:
        """The runtime's own view (runtime-spec, runtime.md#state). Raises NotFound."""
        return self._document(argv.simple(self._logged(), "state", container_id))

    def features(self) -> dict[str, Any]:
        """What this build can do. Raises RuntimeFailed where it has no such command."""
        return self._document(argv.features(self._logged()))

    def pids(self, container_id: str) -> list[int]:
        """Every process of the container. Raises NotFound."""
        output = self._command(argv.ps(self._logged(), container_id))
        return [int(pid) for pid in json.loads(output) or []]

    def _document(self, command: list[str]) -> dict[str, Any]:
        output = self._command(command)
        try:
            document = json.loads(output)
        except ValueError:
            document = None
        if isinstance(document, dict):
            return document
        raise errors.RuntimeFailed(f"{self._name} answered no JSON object", details=command[-1])

    @property
    def _name(self) -> str:
        return os.path.basename(self._base[0])  # noqa: PTH119

    def _logged(self) -> list[str]:
        # Short commands log to their standard error, which is a pipe of ours.
        return argv.with_log(self._base, "/dev/stderr")

    def _command(
        self,
        command: list[str],
        stdin: bytes = b"",
        *,
        holding: int | None = None,
        environment: dict[str, str] | None = None,
    ) -> bytes:
        import subprocess

        try:
            done = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                timeout=self._timeout_s if holding is None else None,
                env=ENVIRONMENT | (environment or {}),
                cwd="/",
                check=False,
                pass_fds=() if holding is None else (holding,),
                start_new_session=holding is not None,
            )
        except subprocess.TimeoutExpired:
            raise errors.TimedOut(
                f"{self._name} did not finish within {self._timeout_s:g} s",
                details=" ".join(command[len(self._base) + 4 :]),
                resolution="a process of the container may hang in the kernel; see dmesg",
            ) from None
        except OSError as error:
            raise errors.Unavailable(f"cannot run {command[0]}: {error.strerror}") from None
        if done.returncode:
            raise self._error(done.stderr, done.returncode)
        return done.stdout

    def _error(self, log: bytes, status: int) -> errors.EngineError:
        ended = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return error_of(messages.from_log(_entries(log), self._name, ended))


def _entries(log: bytes) -> list[dict[str, Any]]:
    found = []
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # the same in plain text, or a warning of the Go runtime
        if isinstance(entry, dict):
            found.append(entry)
    return found


def error_of(failure: messages.Failure) -> errors.EngineError:
    """The exception that stands for a runtime's failure."""
    kind: type[errors.EngineError] = getattr(errors, failure.kind)
    return kind(failure.brief, resolution=failure.resolution or None)
