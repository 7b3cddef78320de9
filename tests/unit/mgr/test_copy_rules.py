"""Docker's rules of where a copy goes: every combination of what is there on both sides."""

from __future__ import annotations

import os

import pytest

from runengine.errors import Conflict, InvalidParameter, NotFound
from runengine.mgr.container import copy_rules
from runengine.mgr.container.copy_rules import Side
from runengine.rootfs.places import Places


@pytest.fixture
def side(tmp_path, monkeypatch):
    """The host, in a directory with one of everything."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "dir/inner").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to("other")
    (tmp_path / "dangling").symlink_to("other/later")
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.chdir(tmp_path)
    with Places() as places:
        yield Side(places)


def destination(side, source, target):
    """Where it goes, as a path."""
    found = copy_rules.find_source(side, source, follow=False)
    there = copy_rules.find_target(side, target)
    place = copy_rules.decide(found, source, side, there, target)
    folder = os.path.relpath(side.places.name_of(place.dir_fd), os.getcwd())
    return os.path.normpath(os.path.join(folder, place.base))


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("file", "new", "new"),
        ("file", "other", "other/file"),
        ("file", "other/", "other/file"),
        ("file", "other/.", "other/file"),
        ("file", "link", "other/file"),
        ("file", "dangling", "other/later"),
        ("dir", "new", "new"),
        ("dir", "new/", "new"),
        ("dir/", "new", "new"),
        ("dir/.", "new", "new"),
        ("dir", "other", "other/dir"),
        ("dir/", "other", "other/dir"),
        ("dir/.", "other", "other"),
        ("dir/inner/..", "other", "other/dir"),
        ("./dir/../dir", "other", "other/dir"),
        ("link", "new", "new"),
        ("link", "other", "other/link"),
        ("link/.", "new", "new"),
    ],
)
def test_where_it_goes(side, source, target, expected):
    assert destination(side, source, target) == expected


@pytest.mark.parametrize(
    ("source", "target", "error", "words"),
    [
        ("nope", "new", NotFound, "lstat nope: no such file or directory"),
        ("file/", "new", InvalidParameter, "not a directory"),
        ("file/.", "new", InvalidParameter, "not a directory"),
        ("dir", "file", InvalidParameter, "cannot copy directory"),
        ("file", "new/", NotFound, "no such directory"),
        ("file", "nope/new", NotFound, 'directory "nope" does not exist'),
        ("file", "file/new", InvalidParameter, "no such directory"),
        ("file", "fifo", Conflict, "must be a directory or a regular file"),
    ],
)
def test_what_is_refused(side, source, target, error, words):
    with pytest.raises(error, match=words):
        destination(side, source, target)


def test_files_of_a_container_are_called_by_its_name(side):
    inside = side._replace(container="web")
    with pytest.raises(NotFound, match="Could not find the file /x in container web"):
        copy_rules.find_source(inside, "/x", follow=False)
    with pytest.raises(NotFound, match="Could not find the file nope in container web"):
        copy_rules.find_target(inside, "nope/x")
