"""Logs for tests: a specification, reading one back whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.mgr.logs import read_logs

if TYPE_CHECKING:
    from pathlib import Path

    from runengine.monitor.protocol import LogSpec


def spec(
    directory: Path,
    driver: str = "cri",
    *,
    max_size: int = 0,
    max_file: int = 3,
    attrs: dict[str, str] | None = None,
) -> LogSpec:
    """A log in ``directory``, without a limit unless one is given."""
    return {
        "driver": driver,
        "path": str(directory / "container.log"),
        "max_size": max_size,
        "max_file": max_file,
        "attrs": attrs or {},
    }


def read(log: LogSpec, **options: Any) -> dict[str, bytes]:
    """What each stream of the log says."""
    found = {"stdout": b"", "stderr": b""}

    def emit(stream: str, data: bytes) -> None:
        found[stream] += data

    read_logs(log, emit=emit, is_running=lambda: False, **options)
    return found


def read_stdout(log: LogSpec, **options: Any) -> bytes:
    """What stdout says."""
    return read(log, **options)["stdout"]
