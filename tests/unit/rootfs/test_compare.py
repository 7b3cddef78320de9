"""A damaged tree beside what it should be: every kind of difference is found, and no other."""

from __future__ import annotations

import os

import pytest

from runengine.rootfs.compare import compare


@pytest.fixture
def trees(tmp_path):
    """Two equal trees."""
    for name in ("expected", "found"):
        root = tmp_path / name
        (root / "dir/deep").mkdir(parents=True)
        (root / "dir/file").write_bytes(b"x" * 3000)
        (root / "dir/deep/other").write_bytes(b"")
        (root / "link").symlink_to("dir/file")
        os.link(root / "dir/file", root / "twin")
        os.mkfifo(root / "fifo")
        for folder, directories, files in os.walk(root, topdown=False):
            for entry in (*files, *directories):
                os.utime(f"{folder}/{entry}", (1, 1), follow_symlinks=False)
        os.utime(root, (1, 1))
    return tmp_path / "expected", tmp_path / "found"


def told(trees, limit=50):
    return {(one.path, one.what) for one in compare(str(trees[0]), str(trees[1]), limit)}


def test_equal_trees(trees):
    assert told(trees) == set()


def keep_times(path, change):
    """Change something without leaving a trace in the times."""
    times = {p: p.lstat().st_mtime_ns for p in (path, path.parent)}
    change()
    for one, mtime in times.items():
        if os.path.lexists(one):
            os.utime(one, ns=(mtime, mtime), follow_symlinks=False)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda root: (root / "fifo").unlink(), {("fifo", "is missing")}),
        (lambda root: (root / "new").touch(), {("new", "should not be there")}),
        (lambda root: (root / "dir/file").chmod(0o4755),
         {(name, "mode is 0o4755 instead of 0o644") for name in ("dir/file", "twin")}),
        (lambda root: (root / "dir/deep").chmod(0o1777),
         {("dir/deep", "mode is 0o1777 instead of 0o755")}),
        (lambda root: ((root / "link").unlink(), (root / "link").symlink_to("/etc/passwd")),
         {("link", "leads to '/etc/passwd' instead of 'dir/file'")}),
        (lambda root: ((root / "fifo").unlink(), (root / "fifo").write_text("")),
         {("fifo", "is a file instead of a fifo")}),
        (lambda root: os.setxattr(root / "dir/deep/other", "user.a", b"1"),
         {("dir/deep/other", "attribute user.a differs")}),
        (lambda root: os.utime(root / "dir/deep/other", (2, 2)),
         {("dir/deep/other", "time is 2000000000 instead of 1000000000")}),
    ],
)  # fmt: skip
def test_differences(trees, change, expected):
    root = trees[1]
    change(root)
    os.utime(root, (1, 1))
    for name in ("dir", "link", "fifo"):
        if os.path.lexists(root / name):
            os.utime(root / name, (1, 1), follow_symlinks=False)
    assert told(trees) == expected


def test_content_of_the_same_length(trees):
    file = trees[1] / "dir/file"
    keep_times(file, lambda: file.write_bytes(b"x" * 2999 + b"y"))
    assert told(trees) == {("dir/file", "has other content"), ("twin", "has other content")}


def test_another_length(trees):
    file = trees[1] / "dir/deep/other"
    keep_times(file, lambda: file.write_bytes(b"1"))
    assert told(trees) == {("dir/deep/other", "has 1 bytes instead of 0")}


def test_two_files_instead_of_one_with_two_names(trees):
    twin = trees[1] / "twin"
    data = twin.read_bytes()
    twin.unlink()
    twin.write_bytes(data)
    for path in (twin, trees[1]):
        os.utime(path, (1, 1))
    assert told(trees) == {("twin", "is not the same file as dir/file")} or told(trees) == {
        ("dir/file", "is not the same file as twin")
    }


def test_a_missing_directory_is_told_once(trees):
    import shutil

    shutil.rmtree(trees[1] / "dir/deep")
    os.utime(trees[1] / "dir", (1, 1))
    assert told(trees) == {("dir/deep", "is missing")}


def test_a_link_in_the_place_of_a_directory_is_not_followed(trees):
    (trees[1] / "dir/deep/other").unlink()
    (trees[1] / "dir/deep").rmdir()
    (trees[1] / "dir/deep").symlink_to(trees[0] / "dir/deep")
    os.utime(trees[1] / "dir", (1, 1))
    assert told(trees) == {("dir/deep", "is a symbolic link instead of a directory")}


def test_the_number_told_is_limited(trees):
    for number in range(30):
        (trees[1] / f"new{number:02}").touch()
    assert len(compare(str(trees[0]), str(trees[1]), 7)) == 7
