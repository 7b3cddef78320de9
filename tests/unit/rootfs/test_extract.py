"""Archives extracted into a container's root: into the directory named, and nowhere else."""

from __future__ import annotations

import gzip
import io
import os
import tarfile

import pytest

from runengine.errors import Conflict, Corrupt, EngineError, InvalidParameter
from runengine.rootfs.extract import extract
from runengine.rootfs.transfer import Options
from tests.support.tars import archive, directory, link, member, symlink


@pytest.fixture
def root(tmp_path):
    """A container's root with a directory to extract into."""
    made = tmp_path / "root"
    (made / "usr/bin").mkdir(parents=True)
    (made / "bin").symlink_to("usr/bin")
    (made / "data").mkdir()
    (tmp_path / "outside").mkdir()
    return made


@pytest.fixture
def into(root):
    """Extracts members into a directory of the root."""
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)

    def run(*members, where="data", data=None, replace=False, **options):
        stream = io.BytesIO(archive(*members) if data is None else data)
        return extract(stream, fd, where, Options(**options), replace=replace)

    yield run
    os.close(fd)


def test_members_of_every_kind(into, root):
    done = into(
        directory("d", mode=0o750),
        member("d/file", b"hello", mode=0o4755),
        symlink("d/link", "/anywhere"),
        link("d/other", "d/file"),
        member("fifo", kind=tarfile.FIFOTYPE),
    )
    data = root / "data"
    assert (data / "d/file").read_text() == "hello"
    assert (data / "d/file").stat().st_mode & 0o7777 == 0o4755
    assert (data / "d").stat().st_mode & 0o7777 == 0o750
    assert os.readlink(data / "d/link") == "/anywhere"
    assert (data / "d/other").samefile(data / "d/file")
    assert (data / "fifo").is_fifo()
    assert int((data / "d").stat().st_mtime) == 1_600_000_000
    assert (done.files, done.bytes) == (5, 5)


def test_a_compressed_archive_is_taken_as_well(into, root):
    into(data=gzip.compress(archive(member("file", b"x"))))
    assert (root / "data/file").read_text() == "x"


def test_the_container_s_own_links_are_followed_inside(into, root):
    """As /bin is one nearly everywhere."""
    into(member("bin/tool", b"x"), where="/")
    assert (root / "usr/bin/tool").read_text() == "x"


def test_names_of_whiteouts_are_names(into, root):
    (root / "data/kept").write_text("x")
    into(member(".wh.kept", b""), member(".wh..wh..opq", b""))
    assert sorted(os.listdir(root / "data")) == [".wh..wh..opq", ".wh.kept", "kept"]


HOSTILE = {
    "up": [member("../outside/file", b"x")],
    "up within": [member("d/../../outside/file", b"x")],
    "hard link up": [link("file", "../../outside/secret")],
    "own link": [symlink("out", "../../outside"), member("out/file", b"x")],
    "own absolute link": [symlink("out", "/usr"), member("out/file", b"x")],
    "own link replaced": [symlink("out", "/usr"), directory("out"), member("out/file", b"x")],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
def test_hostile_archives(into, root, tmp_path, members):
    (tmp_path / "outside/secret").write_text("secret")
    with pytest.raises(EngineError):
        into(*members)
    assert os.listdir(tmp_path / "outside") == ["secret"]
    assert sorted(os.listdir(root / "usr")) == ["bin"]


@pytest.mark.parametrize("name", ["up", "own link", "own absolute link"])
def test_a_naive_reader_falls_for_them(tmp_path, name):
    """The twin of the test above: the archives do what they are feared for."""
    base = tmp_path / "root/data"
    base.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "root/outside").mkdir()
    usr = tmp_path / "usr"
    usr.mkdir()
    for info, data in HOSTILE[name]:
        path = base / info.name
        if info.issym():
            absolute = info.linkname.startswith("/")
            path.symlink_to(usr if absolute else info.linkname)
        else:
            path.write_bytes(data)
    found = {p.name for each in tmp_path.rglob("file") for p in [each.parent]}
    assert found <= {"outside", "usr"}
    assert found


def test_absolute_names_count_from_the_directory(into, root):
    into(member("/etc/file", b"x"))
    assert (root / "data/etc/file").read_text() == "x"


def test_a_link_where_a_file_goes_is_replaced(into, root, tmp_path):
    (tmp_path / "outside/victim").write_text("untouched")
    (root / "data/file").symlink_to(tmp_path / "outside/victim")
    into(member("file", b"new"))
    assert (root / "data/file").read_text() == "new"
    assert (tmp_path / "outside/victim").read_text() == "untouched"


def test_files_and_directories_in_each_other_s_place(into, root):
    (root / "data/d").mkdir()
    (root / "data/f").write_text("old")
    with pytest.raises(Conflict, match="cannot overwrite directory"):
        into(member("d", b"x"))
    with pytest.raises(Conflict, match="cannot overwrite non-directory"):
        into(directory("f"))
    into(member("d", b"x"), directory("f"), replace=True)
    assert (root / "data/d").read_text() == "x"
    assert (root / "data/f").is_dir()


def test_owners_can_be_given(into, root):
    into(member("file", b"x", uid=12345, gid=54321), owner=(os.getuid(), os.getgid()))
    assert (root / "data/file").stat().st_uid == os.getuid()


@pytest.mark.parametrize("data", [b"no archive" * 100, archive(member("f", b"x" * 999))[:700]])
def test_what_is_no_archive_or_ends_early(into, root, data):
    with pytest.raises(Corrupt, match="the archive"):
        into(data=data)
    assert os.listdir(root / "data") == []


def test_a_check_ends_it(into):
    def stopped() -> None:
        raise InvalidParameter("it has stopped")

    with pytest.raises(InvalidParameter, match="has stopped"):
        into(member("file", b"x"), check=stopped)
