"""Checkpoints that travel: the archive and what becomes of the container, without CRIU's part.

That is the guest's (tests/vm/guest/test_checkpoints.py); here a fake writes what CRIU writes.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from runengine.errors import AlreadyExists, Corrupt, EngineError, NotFound, RuntimeFailed
from runengine.linux import libc, mount
from runengine.mgr.container import checkpoint_moving, policy
from runengine.mgr.container.checkpoint import Request
from runengine.mgr.container.checkpoint_moving import Arrival
from runengine.runtime import criu
from runengine.runtime.runc import Runtime

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root
SCRIPT = ("sh", "-c", "echo mine > /kept; echo > /ready; exec sleep 1000")
KEPT = Request("checkpoint", leave_running=True)


def written(_self, _container_id: str, images: str, *_args: Any, **_options: Any) -> None:
    """Write what CRIU does, in name."""
    for name in ("inventory.img", "pstree.img", "pages-1.img", criu.DUMP_STATS):
        with open(f"{images}/{name}", "w") as file:
            file.write(name)


@pytest.fixture
def started(monkeypatch) -> list[Any]:
    """Takes CRIU's part: what would be started from a checkpoint."""
    calls: list[Any] = []
    monkeypatch.setattr(criu, "require", lambda: None)
    monkeypatch.setattr(Runtime, "checkpoint", written)
    monkeypatch.setattr(checkpoint_moving, "start", lambda *args, **_: calls.append(args[1]))
    return calls


@pytest.fixture
def web(runner, engine, started) -> str:
    """A running container that has changed a file."""
    container: str = runner.start(*SCRIPT, RestartPolicy=policy.parse("always"))
    while runner.exec(container, "test", "-e", "/ready")[0]:
        continue
    return container


@pytest.fixture
def archive(engine, web, tmp_path) -> Path:
    """A checkpoint of it in a file."""
    path: Path = tmp_path / "a.tar"
    export(engine, web, path, KEPT)
    return path


def export(engine, container: str, path: Path, request: Request) -> None:
    with path.open("wb") as file:
        engine.containers.export_checkpoint(container, file.fileno(), request)


def state(engine, container: str) -> dict[str, Any]:
    found: dict[str, Any] = engine.containers.inspect(container)["State"]
    return found


def test_what_is_exported_runs_on(engine, web, archive, runner):
    with tarfile.open(archive) as tar:
        members = tar.getnames()
    assert members[:2] == ["container.json", "layer.tar"]
    assert "checkpoint/config.json" in members
    assert state(engine, web)["Status"] == "running"
    assert runner.exec(web, "cat", "/kept")[1] == b"mine\n"
    assert engine.containers.list_checkpoint(web) == []


def test_or_ends_once_the_archive_is_whole(engine, web, tmp_path):
    with open("/dev/full", "wb") as full, pytest.raises(OSError, match="No space"):
        engine.containers.export_checkpoint(web, full.fileno(), Request("checkpoint"))
    assert state(engine, web)["Status"] == "running"
    export(engine, web, tmp_path / "a.tar", Request("checkpoint"))
    ended = state(engine, web)
    assert (ended["Status"], ended["ExitCode"]) == ("exited", 137)
    assert engine.containers.list_checkpoint(web) == []


def test_it_comes_back_as_itself_or_as_another(engine, web, archive, started):
    with archive.open("rb") as file, pytest.raises(AlreadyExists, match="is here already"):
        engine.containers.import_checkpoint(file, Arrival())
    with archive.open("rb") as file:
        twin = engine.containers.import_checkpoint(file, Arrival("twin", keep=True))
    assert started == [twin.id]
    assert (twin.name, twin.id == web) == ("twin", False)
    assert engine.containers.list_checkpoint("twin") == ["checkpoint"]
    engine.containers.remove(web, force=True)
    with archive.open("rb") as file:
        same = engine.containers.import_checkpoint(file, Arrival())
    assert same.id == web
    assert engine.containers.list_checkpoint(web) == []


def test_a_restore_that_fails_leaves_nothing(engine, web, archive, monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeFailed("criu: no")

    monkeypatch.setattr(checkpoint_moving, "start", fail)
    with archive.open("rb") as file, pytest.raises(RuntimeFailed, match="criu: no"):
        engine.containers.import_checkpoint(file, Arrival("twin"))
    assert [entry["Id"] for entry in engine.containers.list(all=True)] == [web]


def drop(members: dict[str, bytes]) -> None:
    del members["checkpoint/inventory.img"]


def climb(members: dict[str, bytes]) -> None:
    members["checkpoint/../../upper/x"] = b"x"


def nest(members: dict[str, bytes]) -> None:
    members["checkpoint/a/b"] = b"x"


def spoil(members: dict[str, bytes]) -> None:
    members["checkpoint/config.json"] = b"{"


def other_image(members: dict[str, bytes]) -> None:
    document = json.loads(members["container.json"])
    members["container.json"] = json.dumps({**document, "image_id": "sha256:" + "7" * 64}).encode()


@pytest.mark.parametrize(
    ("change", "kind"),
    [(drop, Corrupt), (climb, EngineError), (nest, Corrupt), (spoil, Corrupt),
     (other_image, NotFound)],
)  # fmt: skip
def test_a_damaged_archive_leaves_nothing(
    engine, shared_roots, web, archive, started, change, kind
):
    with tarfile.open(archive) as tar:
        files = ((one.name, tar.extractfile(one)) for one in tar)
        members = {name: file.read() for name, file in files if file}
    change(members)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    stream.seek(0)
    with pytest.raises(kind):
        engine.containers.import_checkpoint(stream, Arrival("twin"))
    assert started == []
    assert [entry["Id"] for entry in engine.containers.list(all=True)] == [web]
    assert sorted(os.listdir(f"{shared_roots.root}/containers")) == [web]


def test_what_a_killed_restore_has_mounted_is_not_deleted(engine, runner, shared_roots, tmp_path):
    """Where the runtime keeps what it knows, and removes all that it finds."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "precious").touch()
    container = runner.create("sleep", "1000")
    left = f"{shared_roots.runtime_root}/{container}/criu-root"
    os.makedirs(left)
    libc.mount(str(files), left, None, mount.MS_BIND, None)
    engine.containers.start(container)
    assert state(engine, container)["Status"] == "running"
    assert not mount.is_mounted(left)
    assert (files / "precious").exists()
