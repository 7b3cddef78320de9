"""Checkpoints by this CRIU and this kernel: what goes on where it was, here and as another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.vm.guest.installed import (
    COUNTER,
    UNTIL_GO,
    ok,
    parent,
    prove_counted,
    start,
    state,
    states,
    wait_until,
)
from tests.vm.guest.wires import address

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("clean")]

ALWAYS = ("--restart", "always")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Path]:
    """Where a checkpoint is exported to."""
    path = tmp_path / "checkpoint.tar"
    yield path
    path.unlink(missing_ok=True)


def count(name: str) -> int:
    """How far a COUNTER has come."""
    return int(ok("logs", "--tail", "1", name) or 0)


def test_it_goes_on_where_it_was():
    """Log, address, restart policy and end are those of any container, with a monitor anew."""
    start("web", COUNTER, *ALWAYS, "--network", "bridge")
    had = address("web", "bridge")
    wait_until(lambda: count("web") >= 1)
    ok("checkpoint", "create", "web", "one")
    stopped = state("web")
    assert (stopped["Status"], stopped["ExitCode"]) == ("exited", 137)
    assert ok("checkpoint", "ls", "-q", "web") == "one"
    reached = count("web")
    ok("start", "--checkpoint", "one", "web")
    wait_until(lambda: count("web") > reached)
    assert address("web", "bridge") == had
    pid = state("web")["Pid"]
    assert Path(f"/proc/{parent(pid)}/comm").read_text().startswith("runengine-mon")
    ok("stop", "web")
    ended = state("web")
    assert (ended["Status"], ended["ExitCode"]) == ("exited", 7)
    prove_counted("web")


def test_another_container_may_go_on_from_an_archive(archive: Path):
    """In its own cgroup, with its own files, and under a name of its own."""
    start("web", f"echo mine > /kept; {UNTIL_GO} 5", "--network", "none")
    ok("container", "checkpoint", "--leave-running", "--export", str(archive), "web")
    assert ok("checkpoint", "ls", "-q", "web") == ""
    twin = ok("container", "restore", "--import", str(archive), "--name", "twin")
    found = states("web", "twin")
    assert [found[name]["State"]["Status"] for name in found] == ["running", "running"]
    group = Path(f"/proc/{found['twin']['State']['Pid']}/cgroup").read_text()
    assert twin in group
    assert ok("exec", "twin", "cat", "/kept") == "mine"
    ok("exec", "twin", "touch", "/go")
    assert ok("wait", "twin") == "5"
    assert state("web")["Status"] == "running"
