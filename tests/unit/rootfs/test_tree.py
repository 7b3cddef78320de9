"""Finding directories below a root."""

from __future__ import annotations

import os
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runengine.rootfs.tree import Directory, Tree


@contextmanager
def opened(path, kind=Tree):
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY)
    tree = kind(fd)
    try:
        yield tree
    finally:
        if isinstance(tree, Tree):
            tree.close()
        os.close(fd)


@pytest.fixture
def root(tmp_path):
    """A root with links of every kind, and a place outside that must not be reached."""
    (tmp_path / "outside/dir").mkdir(parents=True)
    top = tmp_path / "root"
    (top / "usr/lib/deep").mkdir(parents=True)
    (top / "file").write_text("x")
    for name, target in {
        "lib": "usr/lib",
        "abs": "/usr/lib",
        "up": "../../../usr",
        "usr/self": ".",
        "usr/back": "../usr/lib/..",
        "out": "../outside",
        "absout": str(tmp_path / "outside"),
        "loop": "loop",
        "a": "b",
        "b": "a",
        "nowhere": "usr/none/further",
    }.items():
        (top / name).symlink_to(target)
    return top


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("", ""),
        ("usr", "usr"),
        ("lib", "usr/lib"),
        ("abs/deep", "usr/lib/deep"),
        ("up/lib", "usr/lib"),
        ("usr/self/self/lib/deep", "usr/lib/deep"),
        ("usr/back/lib", "usr/lib"),
        ("lib/..", "usr"),
        ("../../usr/./lib//deep", "usr/lib/deep"),
    ],
)
def test_links_lead_to_places_inside(root, name, path):
    with opened(root) as tree:
        found = tree.directory(name)
        assert found.path == path
        assert os.path.samestat(os.fstat(found.fd), os.stat(root / path))


@pytest.mark.parametrize("name", ["out", "absout", "out/dir", "nowhere", "none", "usr/none"])
def test_what_is_not_inside_is_not_there(root, name):
    with opened(root) as tree, pytest.raises(FileNotFoundError):
        tree.directory(name)


@pytest.mark.parametrize("name", ["loop", "a/x", "b"])
def test_loops_end(root, name):
    with opened(root) as tree, pytest.raises(OSError, match="symbolic links"):
        tree.directory(name)


@pytest.mark.parametrize("name", ["file", "file/x", "lib/../../file/."])
def test_files_are_no_directories(root, name):
    with opened(root) as tree, pytest.raises(NotADirectoryError):
        tree.directory(name)


class Growing(Tree):
    """Makes what is missing."""

    def missing(self, parent: Directory, name: str) -> None:
        os.mkdir(name, dir_fd=parent.fd)


def test_missing_directories_are_made_where_links_lead(root):
    with opened(root, Growing) as tree:
        assert tree.directory("nowhere/more").path == "usr/none/further/more"
        assert tree.directory("out/deep").path == "outside/deep"
    assert (root / "usr/none/further/more").is_dir()
    assert (root / "outside/deep").is_dir()
    assert os.listdir(root.parent / "outside") == ["dir"]


def test_names_longer_than_a_system_call_takes(tmp_path):
    parts = ["d" * 200] * 60
    with opened(tmp_path, Growing) as tree:
        name = "/".join(parts)
        assert tree.directory(name).path == name
        again = tree.open(name, os.O_RDONLY)
        assert os.fstat(again).st_ino == os.fstat(tree.directory(name).fd).st_ino
        os.close(again)


def test_descriptors_survive_the_next_call_and_forgetting(tmp_path):
    for number in range(200):
        (tmp_path / str(number)).mkdir()
    with opened(tmp_path) as tree:
        for number in range(1, 200):
            first = tree.directory("0")
            second = tree.directory(str(number))
            tree.forget()
            assert os.path.samestat(os.fstat(first.fd), os.stat(tmp_path / "0"))
            assert os.path.samestat(os.fstat(second.fd), os.stat(tmp_path / str(number)))


PARTS = st.sampled_from(["a", "b", "c", "..", ".", "", "l", "m"])
TARGETS = st.builds(
    lambda slash, parts: slash + "/".join(parts), st.sampled_from(["", "/"]), st.lists(PARTS)
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.lists(PARTS, min_size=1, max_size=4), TARGETS), max_size=6),
       st.lists(st.lists(PARTS, max_size=6), max_size=6))
def test_no_name_leads_outside(tmp_path_factory, links, names):
    base = tmp_path_factory.mktemp("tree")
    top = base / "root"
    top.mkdir()
    with opened(top, Growing) as tree:
        for name, target in links:
            _try_link(tree, "/".join(name), target)
        for parts in names:
            _check_inside(tree, "/".join(parts), top)
    assert os.listdir(base) == ["root"]


def _try_link(tree: Tree, name: str, target: str) -> None:
    folder, _, base = name.rpartition("/")
    if base in ("", ".", ".."):
        return
    try:
        os.symlink(target, base, dir_fd=tree.directory(folder).fd)
    except OSError:
        return
    tree.forget()


def _check_inside(tree: Tree, name: str, top) -> None:
    try:
        found = tree.directory(name)
    except OSError:
        return
    real = os.readlink(f"/proc/self/fd/{found.fd}")
    assert real == os.path.join(top, found.path).rstrip("/")
    assert not any(os.path.islink(os.path.join(top, *found.path.split("/")[:n])) for n in range(9))
