"""Names below a root: links and dots lead nowhere else, whatever they say."""

from __future__ import annotations

import os

import pytest

from runengine.rootfs.places import MissingParent, Places


@pytest.fixture
def root(tmp_path):
    """A container's root, and beside it what it must not reach."""
    directory = tmp_path / "root"
    (directory / "etc").mkdir(parents=True)
    (directory / "etc/passwd").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    (tmp_path / "etc").mkdir()
    return directory


@pytest.fixture
def places(root):
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    with Places(fd) as opened:
        yield opened
    os.close(fd)


def text_of(entry):
    fd = os.open(entry.base, os.O_RDONLY, dir_fd=entry.dir_fd)
    try:
        return os.read(fd, 100).decode()
    finally:
        os.close(fd)


WAYS_OUT = ["../secret", "/../secret", "etc/../../secret", "/etc/../../etc/../secret"]


@pytest.mark.parametrize("path", WAYS_OUT)
def test_dots_end_at_the_root(places, root, path):
    with pytest.raises(FileNotFoundError):
        places.source(path)
    # The twin: joined as text the name does lead out.
    with open(f"{root}/{path}") as file:
        assert file.read() == "outside"


@pytest.mark.parametrize("absolute", [True, False])
def test_links_count_from_the_root(places, root, tmp_path, absolute):
    (root / "out").symlink_to(tmp_path / "secret" if absolute else "../secret")
    assert (root / "out").read_text() == "outside"  # the twin
    with pytest.raises(FileNotFoundError):
        places.source("out", follow=True)
    (root / "dir").symlink_to("/etc" if absolute else "../../etc")
    assert text_of(places.source("/dir/passwd")) == "inside"


def test_links_of_processes_lead_nowhere(places, root):
    """A descriptor in /proc is a way to anything that a process has open."""
    (root / "fd").symlink_to("/proc/self/fd/0")
    with pytest.raises(OSError, match="fd"):
        places.source("fd", follow=True)


def test_a_link_is_itself_unless_followed(places, root):
    (root / "link").symlink_to("etc")
    assert places.source("link").base == "link"
    assert places.source("link", follow=True).is_dir
    assert places.source("link/").is_dir
    assert places.source("link/.").base == "."


def test_a_file_is_no_directory(places):
    for path in ("etc/passwd/", "etc/passwd/.", "etc/passwd/x"):
        with pytest.raises(NotADirectoryError):
            places.source(path)


def test_a_target_may_be_missing_but_not_its_parent(places, root):
    found = places.target("etc/new")
    assert (found.base, found.seen) == ("new", None)
    with pytest.raises(MissingParent) as caught:
        places.target("nowhere/new")
    assert caught.value.filename == "nowhere"
    (root / "dangling").symlink_to("/etc/later")
    assert places.target("dangling").base == "later"
    assert places.real_name("dangling") == "/etc/later"
    (root / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="loop"):
        places.target("loop")


def test_a_target_that_is_a_link_is_what_it_leads_to(places, root):
    (root / "link").symlink_to("/etc/passwd")
    found = places.target("link")
    assert found.base == "passwd"
    assert found.seen.st_size == 6
    (root / "folder").symlink_to("etc")
    assert places.target("folder").is_dir


def test_a_nul_byte_ends_no_name(places):
    with pytest.raises(OSError, match="NUL"):
        places.source("etc/passwd\0/x")


def test_the_host_s_names_are_as_they_are(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with Places() as host:
        assert text_of(host.source(f"{tmp_path}/link", follow=True)) == "x"
        assert host.target(f"{tmp_path}/link").base == "file"
        assert host.real_name(f"{tmp_path}/link") == f"{tmp_path}/file"


def test_names_need_not_be_text(places, root):
    name = os.fsdecode(b"\xff\xfe")
    (root / name).write_text("odd")
    assert text_of(places.source(name)) == "odd"
