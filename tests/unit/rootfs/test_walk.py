"""Walking, removing and measuring trees."""

from __future__ import annotations

import os

import pytest

from runengine.rootfs.usage import disk_usage
from runengine.rootfs.walk import remove_tree, walk


def test_visits_deepest_first(tmp_path):
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "d").mkdir()
    seen = ["/".join(visit.names) for visit in walk(str(tmp_path))]
    assert sorted(seen) == ["", "a", "a/b", "a/b/c", "d"]
    assert seen.index("a/b/c") < seen.index("a/b") < seen.index("a") < seen.index("")


def test_removes_trees_of_any_depth(tmp_path):
    top = os.open(tmp_path, os.O_RDONLY)
    os.mkdir("deep", dir_fd=top)
    fd = os.open("deep", os.O_RDONLY, dir_fd=top)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        deeper = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)
    assert disk_usage(str(tmp_path)).inodes == 2 + 2 * 3000
    remove_tree(str(tmp_path / "deep"))
    assert os.listdir(top) == []
    os.close(top)


def test_removing_follows_no_link(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone/link").symlink_to("../kept")
    remove_tree(str(tmp_path / "gone"))
    (tmp_path / "link").symlink_to("kept")
    remove_tree(str(tmp_path / "link"))
    remove_tree(str(tmp_path / "nothing"))
    assert os.listdir(tmp_path) == ["kept"]
    assert (tmp_path / "kept/file").exists()


def test_removes_a_file(tmp_path):
    (tmp_path / "file").touch()
    remove_tree(str(tmp_path / "file"))
    assert os.listdir(tmp_path) == []


def test_a_directory_that_is_moved_away_is_not_followed(tmp_path):
    (tmp_path / "top/a/b").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    visits = walk(str(tmp_path / "top"))
    assert next(visits).names == ["a", "b"]
    os.rename(tmp_path / "top/a/b", tmp_path / "other/b")
    with pytest.raises(OSError, match="moved"):
        next(visits)


def test_usage_counts_blocks_and_each_inode_once(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 10_000)
    os.link(tmp_path / "a", tmp_path / "b")
    os.truncate(tmp_path / "b", 10_000)
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 30)
    usage = disk_usage(str(tmp_path))
    assert usage.inodes == 3
    assert 10_000 <= usage.size_bytes < 1 << 20
