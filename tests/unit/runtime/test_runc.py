"""Command lines of the runtime, and how its program is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runengine import errors
from runengine.runtime import argv, runc

if TYPE_CHECKING:
    from pathlib import Path

BASE = ["runc", "--root", "/r"]


def test_command_lines() -> None:
    assert argv.with_log(BASE, "l") == [*BASE, "--log", "l", "--log-format", "json"]
    assert argv.run(BASE, "c", "/b", pid_file="p") == [
        *BASE, "run", "--detach", "--bundle", "/b", "--pid-file", "p", "c",
    ]
    assert argv.create(BASE, "c", "/b", pid_file="p", console="s") == [
        *BASE, "create", "--bundle", "/b", "--pid-file", "p", "--console-socket", "s", "c",
    ]
    assert argv.exec_process(BASE, "c", "f", pid_file="p") == [
        *BASE, "exec", "--detach", "--process", "f", "--pid-file", "p", "c",
    ]
    assert argv.checkpoint(BASE, "c", "/i", options=["--leave-running"]) == [
        *BASE, "checkpoint", "--image-path", "/i", "--leave-running", "c",
    ]
    assert argv.restore(
        BASE, "c", "/b", "/i", pid_file="p", work="/w", settings="/s", options=["--file-locks"]
    ) == [
        "env", "CRIU_CONFIG_FILE=/s", *BASE, "restore", "--detach", "--image-path", "/i",
        "--work-path", "/w", "--bundle", "/b", "--pid-file", "p", "--file-locks", "c",
    ]
    assert argv.start(BASE, "c") == [*BASE, "start", "c"]
    assert argv.kill(BASE, "c", 9, everyone=True) == [*BASE, "kill", "--all", "c", "9"]
    assert argv.kill(BASE, "c", "TERM", everyone=False) == [*BASE, "kill", "c", "TERM"]
    assert argv.delete(BASE, "c", force=True) == [*BASE, "delete", "--force", "c"]
    assert argv.delete(BASE, "c", force=False) == [*BASE, "delete", "c"]
    assert argv.simple(BASE, "pause", "c") == [*BASE, "pause", "c"]
    assert argv.update(BASE, "c") == [*BASE, "update", "--resources", "-", "c"]
    assert argv.ps(BASE, "c") == [*BASE, "ps", "--format", "json", "c"]
    assert argv.features(BASE) == [*BASE, "features"]


def test_find(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for directory in (first, second):
        directory.mkdir()
    (first / "runc").mkdir()  # a directory is no program
    program = second / "runc"
    program.touch(0o755)
    assert runc.find("runc", path=f"{first}:{second}") == str(program)
    assert runc.find(str(program)) == str(program)
    program.chmod(0o644)
    with pytest.raises(errors.Unavailable, match="apt-get install runc"):
        runc.find("runc", path=f"{first}:{second}")
    with pytest.raises(errors.Unavailable, match="check the runtime's path"):
        runc.find(str(program))
