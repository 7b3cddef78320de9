"""Containers shown to root by ``mount``, moved to another engine, and removed while in use."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from runengine import Engine
from runengine.errors import AlreadyExists, Conflict, Corrupt, EngineError
from runengine.paths import Paths
from tests.support import tars

pytestmark = pytest.mark.root
SLEEP = ("sleep", "1000")


# mount


def test_the_files_are_shown_until_unmounted(engine, runner):
    container = runner.create(*SLEEP)
    shown = engine.containers.mount(container)
    assert engine.containers.mount(container) == shown
    assert (Path(shown) / "etc/passwd").is_file()
    assert [one.path for one in engine.containers.list_mounted()] == [shown]
    assert engine.containers.unmount(container)
    assert not engine.containers.unmount(container)
    assert not Path(shown).exists()


def test_a_start_takes_the_shown_files_as_its_root(engine, runner):
    """A second mount of the same writable layer would spoil it."""
    container = runner.create(*SLEEP)
    shown = Path(engine.containers.mount(container))
    (shown / "before").write_text("x")
    engine.containers.start(container)
    runner.exec(container, "touch", "/within")
    assert (shown / "within").exists()
    devices = {os.stat(path).st_dev for path in (shown, shown.with_name("merged"))}
    assert len(devices) == 1
    engine.containers.stop(container, timeout_s=0)
    assert (shown / "within").exists()
    engine.containers.remove(container)
    assert not shown.parent.exists()


def test_a_running_container_can_be_shown_too(engine, runner):
    container = runner.start("sh", "-c", "echo x > /made; exec sleep 1000")
    shown = Path(engine.containers.mount(container))
    engine.containers.remove(container, force=True)
    assert not shown.exists()


def test_who_holds_it_is_named(engine, runner):
    container = runner.create(*SLEEP)
    shown = engine.containers.mount(container)
    with subprocess.Popen(["sleep", "100"], cwd=shown) as holder:
        try:
            for act in (engine.containers.unmount, engine.containers.remove):
                with pytest.raises(Conflict) as caught:
                    act(container)
                assert f"sleep (pid {holder.pid}: working directory)" in str(caught.value)
            assert engine.containers.get(container).status == "created"
        finally:
            holder.kill()
    engine.containers.remove(container)


def test_what_is_mounted_in_a_layer_is_named(engine, runner):
    """Deleting goes through no mount, and leaves no part unsaid."""
    container = runner.create(*SLEEP)
    inside = Path(engine.config.paths.container(container)) / "upper/inside"
    inside.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", inside], check=True)
    with pytest.raises(EngineError, match=r"upper/inside mounted there; no process"):
        engine.containers.remove(container)
    subprocess.run(["umount", inside], check=True)
    engine.containers.remove(container)


# export --with-config, container import


@pytest.fixture
def other(tmp_path):
    """A second engine, empty."""
    with Engine.open(Paths(str(tmp_path / "root"), str(tmp_path / "state"))) as opened:
        yield opened
        for entry in opened.containers.list(all=True):
            opened.containers.remove(entry["Id"], force=True)


@pytest.fixture
def exported(engine, runner, tmp_path):
    """An archive of a container that has been at work, with a volume; and its id."""
    container = runner.create(
        *SLEEP,
        name="mover",
        config={"Env": ["KEY=value"]},
        Binds=["mover-data:/data"],
        RestartPolicy={"Name": "on-failure", "MaximumRetryCount": 3},
        Memory=64 << 20,
    )
    engine.containers.start(container)
    script = "rm /etc/group; rm -r /home; mkdir /home; echo x > /home/f; echo y > /data/g"
    assert runner.exec(container, "sh", "-c", script)[0] == 0
    engine.containers.stop(container, timeout_s=0)
    with (tmp_path / "archive.tar").open("wb") as file:
        engine.containers.export_with_config(container, file.fileno(), with_volumes=True)
    yield tmp_path / "archive.tar", container
    engine.containers.remove(container, force=True)
    engine.volumes.remove("mover-data")


def bring(engine, archive, **options):
    data = archive if isinstance(archive, bytes) else archive.read_bytes()
    return engine.containers.import_with_config(io.BytesIO(data), **options)


def test_the_same_container_comes_back(engine, other, exported):
    archive, container = exported
    assert bring(other, archive).id == container
    ours, theirs = engine.containers.get(container), other.containers.get("mover")
    assert theirs.config == ours.config
    assert theirs.host_config == ours.host_config
    assert theirs.created_at == ours.created_at
    assert theirs.state["ExitCode"] == ours.state["ExitCode"]
    assert theirs.layers == ours.layers
    root = Path(other.containers.mount(container))
    assert not (root / "etc/group").exists()
    assert os.listdir(root / "home") == ["f"]
    assert (Path(other.volumes.path("mover-data")) / "g").read_text() == "y\n"
    other.containers.start(container)
    assert other.containers.get(container).status == "running"


def test_conflicts_are_refused_and_leave_nothing(other, exported):
    archive, container = exported
    bring(other, archive, name="first")
    with pytest.raises(AlreadyExists, match="is here already"):
        bring(other, archive)
    other.containers.remove(container)
    with pytest.raises(AlreadyExists, match="volumes of the container are here already"):
        bring(other, archive)
    assert other.containers.list(all=True) == []


def test_an_archive_cut_short_anywhere_leaves_nothing(other, exported):
    archive, _ = exported
    data = archive.read_bytes()
    with tarfile.open(archive) as tar:
        cuts = [one.offset_data + one.size // 2 for one in tar]
    for cut in cuts:
        with pytest.raises(EngineError):
            bring(other, data[:cut])
        assert other.containers.list(all=True) == []
        assert other.images.list() == []
        assert other.volumes.list() == []
    assert os.listdir(f"{other.config.paths.root}/containers") == []


def test_what_is_no_such_archive_is_refused(other, exported):
    archive, _ = exported
    with pytest.raises(Corrupt, match="no container that was exported with its settings"):
        bring(other, tars.archive(tars.member("etc/passwd", b"x")))
    for key, value in (("format", 99), ("config", []), ("id", "../../etc"), ("more", 1)):
        with pytest.raises(Corrupt):
            bring(other, altered(archive, {key: value}))


def altered(archive, changes):
    with tarfile.open(archive) as tar:
        member = tar.extractfile("container.json")
        assert member
        document = json.load(member) | changes
    return tars.archive(tars.member("container.json", json.dumps(document).encode()))
