"""Copy-up: what an empty volume gets of the image, once (row P-13)."""

import os
from pathlib import Path

import pytest

from runengine.errors import InvalidParameter, Unavailable
from runengine.mgr.volume.request import volume_config
from runengine.rootfs import copytree


@pytest.fixture
def rootfs(tmp_path):
    """A root with something at /data."""
    root = tmp_path / "rootfs"
    (root / "data/sub").mkdir(parents=True)
    (root / "data/file").write_text("image")
    (root / "data").chmod(0o1770)
    (root / "bare").mkdir(mode=0o700)
    (root / "file").write_text("")
    (root / "to-data").symlink_to("/data")
    (root / "out").symlink_to("/../../../../../../../../etc")
    return root


@pytest.fixture
def fill(context, rootfs):
    """Populates the volume ``data``, which is made first; returns where its data is."""
    volumes = context.volumes
    volume = volumes.create(volume_config("data"))
    target = Path(volumes.path("data"))

    def fill_it(destination="/data"):
        volumes.populate(volume, str(target), str(rootfs), destination)
        return target

    return fill_it


def notes(context):
    return [name for name in os.listdir(f"{context.paths.root}/volumes") if name[0] == "."]


def test_an_empty_volume_gets_all_of_it(context, fill):
    target = fill()
    assert sorted(os.listdir(target)) == ["file", "sub"]
    assert target.stat().st_mode & 0o7777 == 0o1770
    assert notes(context) == []


def test_links_of_the_image_are_followed_within_it(fill):
    assert sorted(os.listdir(fill("/to-data"))) == ["file", "sub"]


def test_no_link_leads_out_of_the_image(fill):
    assert os.listdir(fill("/out")) == []


def test_a_directory_without_content_gives_its_look(fill):
    assert fill("/bare").stat().st_mode & 0o7777 == 0o700


def test_what_the_image_lacks_changes_nothing(fill):
    assert fill("/missing").stat().st_mode & 0o7777 == 0o755


def test_a_file_is_in_the_way(fill):
    with pytest.raises(InvalidParameter, match=r"over existing file, file exists /file"):
        fill("/file")


def test_one_with_data_stays_as_it_is(fill, context):
    target = Path(context.volumes.path("data"))
    (target / "own").write_text("")
    target.chmod(0o711)
    assert os.listdir(fill()) == ["own"]
    assert target.stat().st_mode & 0o7777 == 0o711


def test_a_new_filesystem_counts_as_empty(fill, context):
    target = Path(context.volumes.path("data"))
    (target / "lost+found").mkdir()
    assert sorted(os.listdir(fill())) == ["file", "lost+found", "sub"]


def test_a_copy_cut_short_is_done_again(context, fill, monkeypatch):
    real = copytree.copy_contents

    def die(_, target_fd, __):
        os.close(os.open("half", os.O_CREAT | os.O_WRONLY, dir_fd=target_fd))
        raise KeyboardInterrupt

    monkeypatch.setattr(copytree, "copy_contents", die)
    with pytest.raises(KeyboardInterrupt):
        fill()
    assert notes(context) == [".copying-data"]
    monkeypatch.setattr(copytree, "copy_contents", real)
    assert sorted(os.listdir(fill())) == ["file", "sub"]
    assert notes(context) == []


def test_half_a_copy_that_others_run_with_stays(context, fill, monkeypatch):
    target = Path(context.volumes.path("data"))
    (target / "theirs").write_text("")
    Path(f"{context.paths.root}/volumes/.copying-data").write_text("")
    own = context.volumes._context
    monkeypatch.setattr(context.volumes, "_context", own._replace(is_busy=lambda _: True))
    monkeypatch.setattr(context.store.volumes, "users", lambda _: ["starting", "running"])
    assert os.listdir(fill()) == ["theirs"]
    assert notes(context) == []


def test_a_full_volume_is_named(fill, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copytree, "copy_contents", refuse)
    with pytest.raises(Unavailable, match=r"/data of the image to volume data: No space left"):
        fill()


def test_binds_and_tmpfs_get_nothing(context, rootfs, tmp_path):
    (tmp_path / "own").mkdir()
    for name, driver, options in [
        ("bind", "local", {"type": "none", "o": "bind", "device": "/srv"}),
        ("mount", "local", {"mount": str(tmp_path / "own")}),
        ("memory", "tmpfs", {}),
    ]:
        volume = context.volumes.create(
            {**volume_config(name, driver), "DriverOpts": options}
        )
        context.volumes.populate(volume, str(tmp_path / "own"), str(rootfs), "/data")
    assert os.listdir(tmp_path / "own") == []
