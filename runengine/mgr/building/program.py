"""Running a builder: what it says goes to the user's stderr, and it ends with its caller."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

from runengine.errors import EngineError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LAST_LINES = 3
GRACE_S = 10


def run(
    name: str,
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    quiet: bool,
    say: Callable[[bytes], None],
) -> None:
    """Run to the end; all output goes to ``say``, with ``quiet`` only into the error.

    Raises Unavailable if it is not there, EngineError with its last words if it fails.
    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
    except OSError as error:
        raise Unavailable(f"cannot run {argv[0]} for {name}: {error.strerror}") from None
    try:
        tail = _relay(process, say, quiet=quiet)
        code = process.wait()
    except BaseException:
        _end(process)
        raise
    if code:
        raise EngineError(
            f"{name} failed with exit code {code}",
            details=" / ".join(tail) if quiet else None,
        )


def _relay(
    process: subprocess.Popen[bytes], say: Callable[[bytes], None], *, quiet: bool
) -> list[str]:
    """Pass lines on as they come; returns the last ones."""
    tail: list[str] = []
    if process.stdout is None:
        raise AssertionError("it was opened as a pipe")
    with process.stdout:
        for line in process.stdout:
            if not quiet:
                say(line)
            tail = [*tail, line.decode(errors="replace").strip()][-LAST_LINES:]
    return tail


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let it clear up, but not for ever."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def output(name: str, argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """What a short command prints. Raises Unavailable, EngineError."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )
    except OSError as error:
        raise Unavailable(f"cannot run {argv[0]} for {name}: {error.strerror}") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise EngineError(f"{name} failed", details=reason)
    return done.stdout.strip()
