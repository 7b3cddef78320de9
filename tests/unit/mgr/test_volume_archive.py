"""Volumes as archives: ``volume export`` and ``volume import``."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from runengine.errors import Conflict, Corrupt, EngineError, NotFound
from runengine.mgr.volume.request import volume_config
from runengine.store.journal import parse_block


@pytest.fixture
def volumes(context):
    return context.volumes


def data_of(context, name):
    return Path(context.paths.root, "volumes", name, "_data")


def archive_of(volumes, name, tmp_path):
    path = tmp_path / "volume.tar"
    with path.open("wb") as file:
        volumes.export(name, file.fileno())
    return path


def tar_with(name):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = 4
        member.uid, member.gid = os.getuid(), os.getgid()
        tar.addfile(member, io.BytesIO(b"data"))
    return io.BytesIO(made.getvalue())


def test_there_and_back(context, volumes, tmp_path):
    volumes.create(volume_config("data"))
    volumes.create(volume_config("copy"))
    (data_of(context, "data") / "sub").mkdir()
    (data_of(context, "data") / "sub/file").write_text("kept")
    (data_of(context, "data") / "link").symlink_to("/etc/passwd")
    (data_of(context, "copy") / "mine").write_text("stays")
    path = archive_of(volumes, "data", tmp_path)
    with tarfile.open(path) as tar:
        assert sorted(tar.getnames()) == [".", "./link", "./sub", "./sub/file"]
    with path.open("rb") as file:
        volumes.import_from("copy", file)
    copy = data_of(context, "copy")
    assert (copy / "sub/file").read_text() == "kept"
    assert (copy / "link").readlink() == Path("/etc/passwd")
    assert (copy / "mine").read_text() == "stays"
    with open(context.paths.journal, "rb") as file:
        done = [(one["Action"], one["Actor"]["ID"]) for one in parse_block(file.read())]
    assert done[-2:] == [("export", "data"), ("import", "copy")]


def test_nothing_leads_out_of_the_volume(context, volumes, tmp_path):
    volumes.create(volume_config("data"))
    (data_of(context, "data") / "out").symlink_to(tmp_path)
    with pytest.raises(EngineError):
        volumes.import_from("data", tar_with("../../escaped"))
    volumes.import_from("data", tar_with("out/escaped"))
    assert not [path for path in tmp_path.rglob("escaped") if data_of(context, "data") not in
                path.parents]


def test_what_is_no_archive(volumes):
    volumes.create(volume_config("data"))
    with pytest.raises(Corrupt):
        volumes.import_from("data", io.BytesIO(b"no archive" * 200))


def test_data_that_is_not_mounted(volumes, tmp_path):
    volumes.create({**volume_config("ram"), "DriverOpts": {"type": "tmpfs", "device": "tmpfs"}})
    with pytest.raises(Conflict, match="not mounted"):
        archive_of(volumes, "ram", tmp_path)
    with pytest.raises(NotFound):
        volumes.import_from("nothing", io.BytesIO(b""))
