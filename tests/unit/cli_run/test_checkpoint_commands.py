"""Checkpoint commands against a manager that answers from Python."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from runengine.errors import Conflict
from runengine.mgr.container.checkpoint import Request
from runengine.mgr.container.checkpoint_moving import Arrival
from runengine.mgr.container.checkpoint_places import Checkpoint, Note
from runengine.mgr.container.checkpoint_restore import Wanted
from tests.support.cli import call

if TYPE_CHECKING:
    from collections.abc import Sequence

MADE = Checkpoint("/c/one", Note("one", "f" * 64), bytes(12) + b"\x0a\x03\x10\xac\x02")
REPLACING = Request("checkpoint", replacing=True)


class Containers:
    """Remembers what it was asked to do."""

    def __init__(self, *entries: tuple[str, str], kept: tuple[str, ...] = ()) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._entries = entries
        self._kept = kept

    def list(self, **_: Any) -> list[dict[str, Any]]:
        return [{"Names": [f"/{name}"], "State": state} for name, state in self._entries]

    def resolve(self, name: str) -> str:
        return name

    def create_checkpoint(self, name: str, request: Request) -> Checkpoint:
        self.calls.append((name, request))
        if name == "bad":
            raise Conflict("bad is bad")
        return MADE

    def export_checkpoint(
        self, name: str, target: int, request: Request, *, ignore_volumes: bool
    ) -> Checkpoint:
        self.calls.append((name, request, ignore_volumes))
        Path(f"/proc/self/fd/{target}").write_text("archive")
        return MADE

    def import_checkpoint(self, source: Any, arrival: Arrival) -> Any:
        self.calls.append((source.read(), arrival))
        return SimpleNamespace(id="a" * 64)

    def list_checkpoint(self, name: str, directory: str = "") -> Sequence[str]:
        self.calls.append((name, directory))
        return ["checkpoint", "one"] if not self._kept or name in self._kept else []

    def delete_checkpoint(self, name: str, checkpoint: str, directory: str = "") -> None:
        self.calls.append(("delete", name, checkpoint, directory))

    def start(self, name: str, *, checkpoint: Wanted | None) -> None:
        self.calls.append(("start", name, checkpoint))

    def restore_stats(self, _name: str) -> bytes:
        return bytes(12) + b"\x12\x02\x20\x09"


def run(*words: str, containers: Containers) -> str:
    """What a command that succeeds prints."""
    done = call(*words, containers=containers)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_dockers_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    containers = Containers()
    words = ("--leave-running", "--checkpoint-dir", "kept", "--tcp-established", "web", "one")
    assert run("checkpoint", "create", *words, containers=containers) == "one\n"
    request = Request("one", f"{tmp_path}/kept", leave_running=True, tcp_established=True)
    assert containers.calls.pop() == ("web", request)
    run("checkpoint", "create", "web", "one", containers=containers)
    assert containers.calls.pop() == ("web", Request("one"))  # Docker's default: it stops
    run("checkpoint", "rm", "web", "one", containers=containers)
    assert containers.calls.pop() == ("delete", "web", "one", "")
    run("start", "--checkpoint", "one", "--checkpoint-dir", "kept", "web", containers=containers)
    assert containers.calls.pop() == ("start", "web", Wanted("one", f"{tmp_path}/kept"))


def test_the_list():
    containers = Containers()
    shown = run("checkpoint", "ls", "web", containers=containers)
    assert shown == "CHECKPOINT NAME\ncheckpoint\none\n"
    assert run("checkpoint", "ls", "-q", "web", containers=containers) == "checkpoint\none\n"
    form = ("--format", "{{.Name}}!")
    shown = run("checkpoint", "ls", *form, "web", containers=containers)
    assert shown == "checkpoint!\none!\n"


def test_several_are_checkpointed_and_errors_come_last():
    containers = Containers()
    done = call("container", "checkpoint", "a", "bad", "c", containers=containers)
    assert (done.exit_code, done.stdout) == (1, "a\nc\n")
    assert "bad is bad" in done.stderr
    assert containers.calls[0] == ("a", REPLACING)
    containers = Containers(("up", "running"), ("down", "exited"))
    assert run("container", "checkpoint", "--all", containers=containers) == "up\n"


def test_an_archive_is_whole_or_not_there(tmp_path: Path):
    path = tmp_path / "a.tar"
    containers = Containers()
    words = ("container", "checkpoint", "-R", "-e", str(path), "--ignore-volumes", "web")
    assert run(*words, containers=containers) == "web\n"
    assert path.read_text() == "archive"
    assert containers.calls == [("web", REPLACING._replace(leave_running=True), True)]
    done = call("container", "checkpoint", "-e", str(path), "a", "b", containers=containers)
    assert done.exit_code == 1
    assert "single container" in done.stderr


def test_a_restore_uses_the_checkpoint_up():
    containers = Containers()
    assert run("container", "restore", "web", containers=containers) == "web\n"
    start = ("start", "web", Wanted("checkpoint"))
    assert containers.calls == [start, ("delete", "web", "checkpoint", "")]
    containers = Containers()
    run("container", "restore", "--keep", "--ignore-static-ip", "web", containers=containers)
    assert containers.calls == [
        ("start", "web", Wanted("checkpoint", ignore_addresses=True))
    ]
    containers = Containers(("web", "exited"), ("other", "exited"), kept=("web",))
    assert run("container", "restore", "--all", containers=containers) == "web\n"


def test_an_archive_is_restored(tmp_path: Path):
    path = tmp_path / "a.tar"
    path.write_bytes(b"archive")
    containers = Containers()
    words = ("-i", str(path), "-n", "twin", "--keep", "--ignore-volumes", "--tcp-established")
    shown = run("container", "restore", *words, containers=containers)
    arrival = Arrival("twin", keep=True, tcp_established=True, ignore_volumes=True)
    assert (shown, containers.calls) == ("a" * 64 + "\n", [(b"archive", arrival)])


def test_statistics_take_the_place_of_names():
    shown = run("container", "checkpoint", "--print-stats", "web", containers=Containers())
    (entry,) = json.loads(shown)["container_statistics"]
    assert (entry["Id"], entry["criu_statistics"]) == ("web", {"frozen_time": 300})
    shown = run("container", "restore", "--print-stats", "web", containers=Containers())
    (entry,) = json.loads(shown)["container_statistics"]
    assert entry["criu_statistics"] == {"restore_time": 9}


@pytest.mark.parametrize(
    "words",
    [
        ("container", "restore", "-i", "a.tar", "web"),
        ("container", "restore", "-n", "twin", "web"),
        ("container", "restore"),
        ("container", "checkpoint"),
        ("start", "--checkpoint", "one", "a", "b"),
        ("container", "restore", "-i", "/nowhere/a.tar"),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...]):
    containers = Containers()
    assert call(*words, containers=containers).exit_code == 1
    assert containers.calls == []
